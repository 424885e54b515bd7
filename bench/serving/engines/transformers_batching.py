"""transformers' continuous batching (``ContinuousBatchingManager``), in a process of its own."""

from __future__ import annotations

from dataclasses import replace

from bench.serving.engines import in_process
from bench.serving.engines.adapter import OFFLINE

INSTALL = "pip install 'inference-cost-bench[transformers]'"

ADAPTER = replace(
    in_process.engine(
        "transformers-batching", "transformers' continuous batching", INSTALL, "transformers", "torch"
    ),
    environment=OFFLINE,
)
