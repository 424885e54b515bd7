"""Jensen-Shannon divergence: it is symmetric, and at most ln 2 however different two models are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.stats.figure import Metric
from bench.stats.intervals import Interval, bootstrap_interval

METRIC = Metric(
    "jsd_mean",
    "nat",
    "lower",
    "mean ½·KL(P ‖ M) + ½·KL(Q ‖ M), M = (P + Q)/2; interval by bootstrap over windows",
    "Jensen-Shannon divergence",
)
LEAST = 1e-38  # replaces 0 in a logarithm, so that the logarithm is finite and 0 times it is 0


def of_positions(base: Any, variant: Any) -> Any:
    """Return the divergence of each position in nats (Lin 1991, IEEE Trans. Inf. Theory 37:145)."""
    p, q = base.softmax(-1), variant.softmax(-1)
    middle = ((p + q) / 2).clamp_min(LEAST).log()
    halves = [(side * (side.clamp_min(LEAST).log() - middle)).sum(-1) for side in (p, q)]
    return ((halves[0] + halves[1]) / 2).clamp_min(0)


def figure(values: Sequence[Sequence[float]]) -> Interval:
    """Return the mean over all positions, with its interval."""
    return bootstrap_interval(values)
