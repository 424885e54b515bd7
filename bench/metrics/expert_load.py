"""Compute how evenly the experts of a mixture share a text's tokens, and how far a variant changes that."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric
from bench.stats.plain_sum import plain_sum

LARGEST = Metric(
    "expert_load_max",
    "1",
    "lower",
    "mean over layers of max_e n_e ÷ mean_e n_e, n_e = tokens",
    "load of the busiest expert",
)
IDLE = Metric(
    "experts_idle",
    "1",
    "lower",
    "share of experts that no token of the text went to",
    "experts without any token",
)
MOVED = Metric(
    "expert_load_drift",
    "1",
    "lower",
    "mean over layers of ½ Σ_e |n_e/Σn − base's|: the share of tokens that changed sides",
    "change of the routing",
)
PLACE = 8.5
METRICS = (LARGEST, IDLE, MOVED)

Load = tuple[tuple[int, ...], ...]
_NONE: Load = ()


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures over the tokens on which drift was scored; None without experts, or without drift.

    A baseline takes part in the scoring of every row; its figures come from the row with the most tokens. The
    loads of two rows are compared only if they have the same number of experts.
    """
    nothing: Figures = dict.fromkeys(metric.key for metric in METRICS)
    if arm.is_baseline:
        rows = [variant for base, variant in run.compared if base is arm]
        sides = [_sum([routed.baseline for routed in row.routed]) for row in rows]
        load, base = max(sides, key=_tokens, default=_NONE), _NONE
    else:
        load = _sum([routed.variant for routed in arm.routed])
        base = _sum([routed.baseline for routed in arm.routed])
    if not _tokens(load):
        return nothing
    same = [len(layer) for layer in load] == [len(layer) for layer in base]
    notes = {"layers": len(load), "tokens": _tokens(load)}
    return {
        LARGEST.key: LARGEST.scalar(_mean([max(layer) * len(layer) / sum(layer) for layer in load]), **notes),
        IDLE.key: IDLE.scalar(sum(layer.count(0) for layer in load) / sum(map(len, load)), **notes),
        MOVED.key: MOVED.scalar(_mean(list(map(_apart, load, base))) if same else None, **notes),
    }


def _sum(parts: Sequence[Load]) -> Load:
    """Add up the loads of the parts of the text; () if the parts have different numbers of experts."""
    shapes = {tuple(map(len, part)) for part in parts}
    if len(shapes) != 1:
        return ()
    return tuple(tuple(map(sum, zip(*layers, strict=True))) for layers in zip(*parts, strict=True))


def _tokens(load: Load) -> int:
    """Return the smallest number of choices of any layer; 0 without layers."""
    return min(map(sum, load), default=0)


def _apart(load: Sequence[int], base: Sequence[int]) -> float:
    """Return the total variation distance between the loads of a layer, as shares of tokens."""
    return plain_sum(abs(a / sum(load) - b / sum(base)) for a, b in zip(load, base, strict=True)) / 2


def _mean(values: Sequence[float]) -> float:
    return plain_sum(values) / len(values)
