"""vLLM (https://docs.vllm.ai): ``vllm serve``, on a GPU or with the CPU build."""

from __future__ import annotations

from bench.serving.engines.adapter import OFFLINE, Adapter, Launch

SERVED_AS = "served"


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    return (
        launch.python, "-m", "vllm.entrypoints.openai.api_server", "--model", launch.model,
        *launch.listening, "--served-model-name", SERVED_AS, *launch.arguments,
    )  # fmt: skip


ADAPTER = Adapter(
    name="vllm",
    title="vLLM",
    command=command,
    health="/health",
    evidence=("/version", "/v1/models", "/server_info?config_format=json"),
    served_as=lambda _launch: SERVED_AS,
    install="bench env make vllm",
    modules=("vllm",),
    # return_token_ids: the tokens of an event are counted, and not guessed.
    extra={"ignore_eos": True, "return_token_ids": True},
    environment={
        **OFFLINE,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_SERVER_DEV_MODE": "1",
    },
)
