"""Count how many of the ten likeliest tokens both models share; top-k sampling chooses from such tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.stats.figure import SHARE, Metric
from bench.stats.intervals import Interval, bootstrap_interval

K = 10
METRIC = Metric(
    "top10_overlap",
    "1",
    "higher",
    "mean |top 10 of P ∩ top 10 of Q| ÷ 10; interval by bootstrap over windows",
    "share of the ten likeliest tokens that agree",
    range=SHARE,
)


def of_positions(base: Any, variant: Any) -> Any:
    """Return the share of common tokens at each position; a smaller vocabulary is compared as a whole."""
    k = min(K, base.shape[-1])
    theirs, ours = base.topk(k).indices, variant.topk(k).indices
    return (ours.unsqueeze(-1) == theirs.unsqueeze(-2)).any(-1).float().mean(-1)


def figure(values: Sequence[Sequence[float]]) -> Interval:
    """Return the mean over all positions, with its interval."""
    return bootstrap_interval(values)
