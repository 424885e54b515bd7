"""Compute the noise floor: how far the baseline is from itself under other conditions.

The conditions are other kernel shapes, another number of threads, a batch, and another process. The first
three have their own pass each, with a mean KL. The last comes from the drift of the variants, because each
variant was scored next to a baseline in a new process, on the same windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bench.drift.kl_and_perplexity import mean_kl
from bench.records import ArmRecord, DriftWindow, RunRecord

SHAPES, PROCESS = "shapes", "process"


def floors(baseline: ArmRecord | None, run: RunRecord) -> dict[str, float]:
    """Return the floor of each condition that was measured, in nats."""
    if baseline is None:
        return {}
    by_condition = {kind: mean_kl(windows).value for kind, windows in baseline.floors.items() if windows}
    if baseline.floor:
        by_condition[SHAPES] = mean_kl(baseline.floor).value
    process = between_processes([arm.drift for base, arm in run.compared if base is baseline])
    return by_condition if process is None else {**by_condition, PROCESS: process}


def between_processes(scored: Sequence[Sequence[DriftWindow]]) -> float | None:
    """Return the KL between baselines in different processes, to second order: ½·mean(ln P − ln P′)².

    The mean is over the true next tokens of all windows, and compares each process with the first. A small KL
    is half the variance of the difference of the logarithms (Kullback 1959, section 2.6). The result is None
    unless at least two processes scored windows of the same lengths.
    """
    first, *others = scored or [()]
    squares: list[float] = []
    for other in others:
        for window, same in zip(first, other, strict=False):
            if len(window.ln_p_base) == len(same.ln_p_base):
                squares += _squares(window.ln_p_base, same.ln_p_base)
    return math.fsum(squares) / len(squares) / 2 if squares else None


def _squares(x: Iterable[float], y: Iterable[float]) -> list[float]:
    return [(a - b) ** 2 for a, b in zip(x, y, strict=True)]
