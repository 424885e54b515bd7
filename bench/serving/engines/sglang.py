"""SGLang (https://docs.sglang.ai): ``sglang.launch_server``."""

from __future__ import annotations

from bench.errors import UsageError
from bench.machine.devices import cuda_device_count
from bench.serving.engines.adapter import OFFLINE, Adapter, Launch
from bench.serving.engines.recipe import Recipe
from bench.serving.engines.server_facts import Evidence, Said, at, number, text, truth

SERVED_AS = "served"


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    return (
        launch.python, "-m", "sglang.launch_server", "--model-path", launch.model, *launch.listening,
        "--served-model-name", SERVED_AS, *launch.arguments,
    )  # fmt: skip


def said(evidence: Evidence) -> Said:
    """Return what the server says: its own arguments, after it has filled in what was ``auto``."""
    info = {"info": evidence.get("/get_server_info")}
    dtype, kv = text(at(info, "info", "dtype")), text(at(info, "info", "kv_cache_dtype"))
    off = truth(at(info, "info", "disable_radix_cache"))
    return Said(
        version=text(at(info, "info", "version")),
        dtype=dtype,
        quantisation=text(at(info, "info", "quantization")) or ("none" if dtype else None),
        kv_dtype=dtype if kv == "auto" else kv,
        max_length=number(at(info, "info", "context_length")),
        prefix_caching=None if off is None else not off,
    )


def recipe() -> Recipe:
    """Return the packages. Raises UsageError without a GPU: there is no package with its CPU kernels."""
    if not cuda_device_count():
        raise UsageError(
            "SGLang has no package for a CPU: its wheel wants the CUDA build of PyTorch, and its CPU kernels "
            "must be built from source. Name an interpreter that has it (--python, or runtime.python of a "
            "row)"
        )
    return Recipe("sglang==0.5.23", "sglang", disk_bytes=15_000_000_000)


ADAPTER = Adapter(
    name="sglang",
    title="SGLang",
    command=command,
    health="/health",
    evidence=("/get_server_info", "/get_model_info", "/v1/models"),
    served_as=lambda _launch: SERVED_AS,
    install="bench env make sglang (a GPU)",
    said=said,
    recipe=recipe,
    modules=(("sglang",),),
    extra={
        "ignore_eos": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "repetition_penalty": 1.0,  # whatever generation_config.json asks for
    },
    environment=OFFLINE,
)
