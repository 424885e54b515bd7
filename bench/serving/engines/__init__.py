"""List the servers that can be started; one file for each says how."""

from __future__ import annotations

from bench.errors import UsageError
from bench.formatting import did_you_mean, one_line
from bench.serving.engines import (
    llama_cpp_server,
    sglang,
    transformers_batching,
    transformers_serve,
    vllm,
    vllm_offline,
)
from bench.serving.engines.adapter import Adapter

ADAPTERS: dict[str, Adapter] = {
    one.name: one
    for one in (
        vllm.ADAPTER,
        llama_cpp_server.ADAPTER,
        transformers_serve.ADAPTER,
        sglang.ADAPTER,
        vllm_offline.ADAPTER,
        transformers_batching.ADAPTER,
    )
}


def adapter_called(name: str) -> Adapter:
    """Return the adapter of an engine. Raises UsageError, which names the nearest one."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    hint = did_you_mean(name, ADAPTERS, f"known: {', '.join(ADAPTERS)}, or an address (http://...)")
    raise UsageError(f"no serving engine {one_line(name)[:60]!r} ({hint})")
