"""vLLM without its server (``LLMEngine``), in a process of its own."""

from __future__ import annotations

from dataclasses import replace

from bench.serving.engines import in_process, vllm

ADAPTER = replace(
    in_process.engine("vllm-offline", "vLLM offline", "bench env make vllm", "vllm"),
    for_drift=vllm.ADAPTER.for_drift,
    # Its engine core is not put into another process, so that a step is a call of ours.
    environment={**vllm.ADAPTER.environment, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
    lives_with=vllm.ADAPTER.name,
)
