"""Measure how much the replies of a row repeat themselves, and count those that end in a loop."""

from __future__ import annotations

from bench.drift.generations import Reply, replies
from bench.drift.repeats import LOOP_TOKENS, collapsed, repeated
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import SHARE, Figures, Metric
from bench.stats.intervals import bootstrap_interval
from bench.stats.proportions import wilson

RATE = Metric(
    "repetition_rate", "1", "lower",
    "share of runs of 4 tokens that occur earlier in the same reply; interval by bootstrap over replies",
    "how much replies repeat themselves", range=SHARE
)  # fmt: skip
COLLAPSED = Metric(
    "collapsed_share", "1", "lower",
    f"share of replies whose last {LOOP_TOKENS} tokens repeat a piece of at most 4; interval by Wilson",
    "replies that end in a loop", range=SHARE
)  # fmt: skip
PLACE = 10.2
METRICS = (RATE, COLLAPSED)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a row; None for random weights, whole answers, and too short replies."""
    result: Figures = {metric.key: None for metric in METRICS}
    if not _has_replies(arm):
        return result
    own = replies(arm)
    if grams := [runs for reply in own if (runs := repeated(reply))]:
        result[RATE.key] = RATE.scalar(bootstrap_interval(grams), n=len(grams))
    if long := [reply for reply in own if len(reply) >= LOOP_TOKENS]:
        count = sum(map(collapsed, long))
        result[COLLAPSED.key] = COLLAPSED.scalar(
            wilson(count, len(long)), n=len(long), **_changes(arm, run, own)
        )
    return result


def _has_replies(arm: ArmRecord) -> bool:
    random = arm.loaded is not None and arm.loaded.facts.random_weights
    return bool(arm.solo) and not random and not any(batch.whole for batch in arm.solo)


def _changes(arm: ArmRecord, run: RunRecord, own: list[Reply]) -> dict[str, int]:
    """Count the replies that collapse here but not in the baseline (``new``), and the opposite (``gone``)."""
    base = run.baseline_of(arm)
    if base is None or arm.is_baseline or base.prompts_digest != arm.prompts_digest or not _has_replies(base):
        return {}
    both = [(collapsed(before), collapsed(after)) for before, after in zip(replies(base), own, strict=False)]
    new = sum(after and not before for before, after in both)
    return {"new": new, "gone": sum(before and not after for before, after in both)}
