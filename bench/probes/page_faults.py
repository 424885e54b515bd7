"""Page faults while a request is decoded: memory that the process had to ask the kernel for again."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

from bench.stats.figure import Metric

MINOR = Metric(
    "minor_page_faults_per_request", "1", "lower", "Δ ru_minflt over one batch ÷ requests", "page faults"
)
MAJOR = Metric(
    "major_page_faults_per_request", "1", "lower", "Δ ru_majflt over one batch ÷ requests", "from a disk"
)
METRICS = (MINOR, MAJOR)


def measure(engine: Any, batch: Sequence[Sequence[int]], new_tokens: int) -> dict[str, float | None]:
    """Count the faults of one batch with getrusage, for the whole process and its threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    generation = engine.prefill(batch, new_tokens)
    for _ in range(1, new_tokens):
        engine.step(generation)
    engine.synchronise()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        MINOR.key: (after.ru_minflt - before.ru_minflt) / len(batch),
        MAJOR.key: (after.ru_majflt - before.ru_majflt) / len(batch),
    }
