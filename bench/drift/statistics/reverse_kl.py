"""KL(variant ‖ baseline): it is large where the variant is sure of a token and the baseline is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.stats.figure import Metric
from bench.stats.intervals import Interval, bootstrap_interval

METRIC = Metric(
    "kld_reverse_mean",
    "nat",
    "lower",
    "mean Σ_v Q(v)·(ln Q(v) − ln P(v)); interval by bootstrap over windows",
    "KL(variant ‖ base)",
)


def of_positions(base: Any, variant: Any) -> Any:
    """Return KL(variant ‖ base) of each position in nats, over the full vocabulary."""
    ln_p, ln_q = base.log_softmax(-1), variant.log_softmax(-1)
    return ((ln_q - ln_p) * ln_q.exp()).sum(-1).clamp_min(0)


def figure(values: Sequence[Sequence[float]]) -> Interval:
    """Return the mean over all positions, with its interval."""
    return bootstrap_interval(values)
