"""SGLang (https://docs.sglang.ai): ``sglang.launch_server``."""

from __future__ import annotations

from bench.serving.engines.adapter import OFFLINE, Adapter, Launch

SERVED_AS = "served"


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    return (
        launch.python, "-m", "sglang.launch_server", "--model-path", launch.model, *launch.listening,
        "--served-model-name", SERVED_AS, *launch.arguments,
    )  # fmt: skip


ADAPTER = Adapter(
    name="sglang",
    title="SGLang",
    command=command,
    health="/health",
    evidence=("/get_server_info", "/get_model_info", "/v1/models"),
    served_as=lambda _launch: SERVED_AS,
    install="pip install sglang",
    modules=("sglang",),
    extra={"ignore_eos": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    environment=OFFLINE,
)
