"""Compute the numeric health of a row: the range of its numbers, and whether a request always gets one reply.

NaN and infinity have no figure here, because they make the row fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.records import Activations, ArmRecord, RunRecord
from bench.records.determinism import fingerprint
from bench.stats.figure import Figures, Metric
from bench.stats.intervals import bootstrap_interval, ratio_interval

RANGE = Metric(
    "logit_range", "nat", "lower",
    "mean over windows of (largest logit − smallest); bootstrap over windows", "range of the logits",
)  # fmt: skip
RATIO = Metric(
    "logit_range_ratio", "1", None, "Σ logit range ÷ Σ the baseline's on the same windows",
    "range of the logits ÷ the baseline's",
)  # fmt: skip
OTHER_RUNS = Metric(
    "changed_between_runs", "batches", "lower",
    "batches that another process of the same row answered with other tokens than the timed pass", "",
)  # fmt: skip
IN_BATCH = Metric(
    "changed_in_batch", "requests", "lower",
    "requests that get other tokens in a batch with others than alone", "",
)  # fmt: skip
SATURATED = Metric(
    "activations_saturated", "activations", "lower",
    "inputs of linear layers on the evaluation text that are at the end of a format that has one", "",
)  # fmt: skip
FURTHEST = Metric(
    "activation_reach", "1", "lower", "max of |input of a linear layer| ÷ the end of its format", "",
)  # fmt: skip
PLACE = 10.4
METRICS = (RANGE, RATIO, SATURATED, FURTHEST, OTHER_RUNS, IN_BATCH)
Reach = Sequence[tuple[float, float]]
MOST_LAYERS = 3  # a note names the layers with the most saturated activations, at most this many


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a row; None for what was not observed."""
    nothing: Figures = {metric.key: None for metric in METRICS}
    return nothing | _reach(arm, run) | _saturated(arm, run) | _between_runs(arm, run) | _in_batch(arm)


def _reach(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the range of the logits over the evaluation text.

    A baseline takes part in the scoring of every variant; its range comes from the one with most windows.
    """
    rows = [variant for base, variant in run.compared if base is arm] if arm.is_baseline else [arm]
    pairs = [[both for part in row.logits for both in _paired(part.baseline, part.variant)] for row in rows]
    longest = max(pairs, key=len, default=[])
    if not longest:
        return {}
    reaches = [pair[0 if arm.is_baseline else 1] for pair in longest]
    notes = {"windows": len(reaches), "n": len(reaches)}
    figure = {RANGE.key: RANGE.scalar(bootstrap_interval([[reach] for reach in reaches]), **notes)}
    of_baseline = [pair[0] for pair in longest]
    if arm.is_baseline or min(*of_baseline, *reaches) <= 0:
        return figure
    return {**figure, RATIO.key: RATIO.scalar(ratio_interval(reaches, of_baseline), **notes)}


def _paired(base: Reach, variant: Reach) -> list[tuple[float, float]]:
    return [(b[1] - b[0], v[1] - v[0]) for b, v in zip(base, variant, strict=False)]


def _saturated(arm: ArmRecord, run: RunRecord) -> Figures:
    """Count the activations that are at the end of their format.

    A baseline's count comes from the row in which most activations were observed. There is no figure if some
    call observed nothing, because a missing count is not 0.
    """
    if arm.is_baseline:
        rows = [[part.baseline for part in row.activations] for base, row in run.compared if base is arm]
    else:
        rows = [[part.variant for part in arm.activations]]
    parts = max((_all_known(row) for row in rows), key=_looked, default=())
    if not parts:
        return {}
    layers = Counter[str]()
    for part in parts:
        layers.update(part.layers)
    notes = {"n": _looked(parts), "format": parts[0].format, "layers": dict(layers.most_common(MOST_LAYERS))}
    return {
        SATURATED.key: SATURATED.scalar(float(layers.total()), **notes),
        FURTHEST.key: FURTHEST.scalar(max(part.reach for part in parts), **notes),
    }


def _all_known(parts: Sequence[Activations | None]) -> tuple[Activations, ...]:
    observed = tuple(part for part in parts if part is not None)
    return observed if len(observed) == len(parts) else ()


def _looked(parts: Sequence[Activations]) -> int:
    return sum(part.looked for part in parts)


def _between_runs(arm: ArmRecord, run: RunRecord) -> Figures:
    """Count the batches that another process of the row answered with other tokens than the timed pass."""
    if not arm.solo:
        return {}
    timed = [fingerprint(batch.tokens) for batch in arm.solo]
    again = [
        fingerprint_again == timed[number % len(timed)] for number, fingerprint_again in _again(arm, run)
    ]
    if not again:
        return {}
    return {OTHER_RUNS.key: OTHER_RUNS.scalar(float(again.count(False)), n=len(again))}


def _again(arm: ArmRecord, run: RunRecord) -> Iterator[tuple[int, str]]:
    """Yield (batch number, fingerprint) of every batch that another process of the row answered."""
    rows = [variant for base, variant in run.compared if base is arm] if arm.is_baseline else [arm]
    for row in rows:
        for unit in run.units_of(row):
            if unit.replies is None or unit.from_run:
                continue
            fingerprints = unit.replies.baseline if arm.is_baseline else unit.replies.variant
            yield from zip(unit.batches, fingerprints, strict=False)


def _in_batch(arm: ArmRecord) -> Figures:
    if arm.together is None or not arm.together.requests:
        return {}
    together = arm.together
    return {IN_BATCH.key: IN_BATCH.scalar(float(together.differ), n=together.requests)}
