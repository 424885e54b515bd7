"""transformers' continuous batching (``ContinuousBatchingManager``), in a process of its own."""

from __future__ import annotations

from functools import partial

from bench.serving.engines import in_process
from bench.serving.engines.adapter import OFFLINE, Adapter, installed

NAME = "transformers-batching"

ADAPTER = Adapter(
    name=NAME,
    title="transformers' continuous batching",
    command=partial(in_process.command, NAME),
    health=in_process.PATH,
    evidence=(in_process.PATH,),
    served_as=lambda launch: launch.model,
    install="pip install 'inference-cost-bench[transformers]'",
    said=in_process.said,
    is_here=lambda: installed("transformers", "torch"),
    extra=in_process.EXTRA,
    environment=OFFLINE,
    in_process=True,
)
