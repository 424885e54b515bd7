"""vLLM without its server (``LLMEngine``), in a process of its own."""

from __future__ import annotations

from functools import partial

from bench.serving.engines import in_process, vllm
from bench.serving.engines.adapter import Adapter, installed

NAME = "vllm-offline"

ADAPTER = Adapter(
    name=NAME,
    title="vLLM offline",
    command=partial(in_process.command, NAME),
    health=in_process.PATH,
    evidence=(in_process.PATH,),
    served_as=lambda launch: launch.model,
    install="bench env make vllm",
    for_drift=vllm.ADAPTER.for_drift,
    said=in_process.said,
    is_here=lambda: installed("vllm"),
    extra=in_process.EXTRA,
    # Its engine core is not put into another process, so that a step is a call of ours.
    environment={**vllm.ADAPTER.environment, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
    in_process=True,
    lives_with="vllm",
)
