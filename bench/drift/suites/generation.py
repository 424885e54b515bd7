"""Compare greedy replies to the same prompts: identical replies, first difference, edits, length."""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift import generations as drift
from bench.drift import survival
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import SHARE, Figure, Figures, Metric
from bench.stats.intervals import bootstrap_interval

EXACT = Metric(
    "exact_match", "1", "higher", "share of replies identical token by token up to their end", "", range=SHARE
)
DIVERGENCE = Metric(
    "first_divergence_token", "tok", "higher", "mean index of the first differing token (length if none)", ""
)
MEDIAN = Metric(
    "median_divergence_token", "tok", "higher",
    "token by which half of the replies differ (Kaplan-Meier; censored where a reply ends without differing)",
    "token by which half of the replies differ",
)  # fmt: skip
RATE = Metric(
    "divergence_per_token", "1/tok", "lower",
    "replies that differ ÷ tokens up to the first difference; interval by bootstrap over replies",
    "chance that the next token is the first to differ",
)  # fmt: skip
EDITS = Metric(
    "edit_distance",
    "1",
    "lower",
    "mean Levenshtein distance of the tokens ÷ the longer reply",
    "",
    range=SHARE,
)
LENGTH = Metric("length_ratio", "1", None, "Σ reply length ÷ Σ the baseline's, both cut at output_tokens", "")
PLACE = 10
METRICS = (EXACT, DIVERGENCE, MEDIAN, RATE, EDITS, LENGTH)
MOST_STEPS = 20  # a figure keeps at most this many steps of the survival curve


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures; each is None if the replies cannot be compared.

    They cannot be compared for a baseline, for random weights, or if prompts or output length differ from the
    baseline's. They are not compared if ``drift.suites`` of the config leaves them out.
    """
    base = run.baseline_of(arm)
    nothing: Figures = {metric.key: None for metric in METRICS}
    if "generation" not in run.spec.get("drift", {}).get("suites", ("generation",)):
        return nothing
    if arm.is_baseline or base is None or not arm.solo or not base.solo:
        return nothing
    if arm.prompts_digest != base.prompts_digest or (arm.loaded and arm.loaded.facts.random_weights):
        return nothing
    if arm.workload.get("output_tokens") != base.workload.get("output_tokens"):
        return nothing
    if arm.runtime.get("task"):  # an encoder writes nothing
        return nothing
    if arm.cascade is not None and not arm.cascade["same_tokens"]:
        return nothing | {EXACT.key: _by_text(base, arm)}
    pairs = drift.pairs(base, arm)
    followed = [survival.followed(a, b) for a, b in pairs]
    steps, length = survival.curve(followed), drift.length_ratio(pairs)
    notes = {"n": len(pairs), "differ": sum(pair.differs for pair in followed)}
    low, high = drift.GUARD
    outside = length is not None and not low <= length.value <= high
    return {
        EXACT.key: EXACT.scalar(drift.exact_match(pairs), n=len(pairs)),
        DIVERGENCE.key: DIVERGENCE.scalar(drift.first_divergence(pairs), survival=_kept(steps)),
        MEDIAN.key: MEDIAN.scalar(survival.median(steps), **notes),
        RATE.key: RATE.scalar(drift.divergence_rate(followed), **notes),
        EDITS.key: EDITS.scalar(drift.edits(pairs), n=len(pairs)),
        LENGTH.key: LENGTH.scalar(length, cut=drift.cut_share(base, arm), outside=outside),
    }


def other_lengths(length: Figure) -> bool:
    """Return whether replies are longer or shorter than ``GUARD`` allows.

    The answer is False if most replies reached the output limit, because their length is then unknown.
    """
    return bool(length.notes.get("outside")) and (length.notes.get("cut") or 0.0) <= drift.MOST_CUT


def _by_text(base: ArmRecord, arm: ArmRecord) -> Figure | None:
    """Return the share of replies with the same text, because tokens of two tokenizers cannot be compared.

    A result keeps only the beginnings of up to 64 replies, so only these are compared.
    """
    both = [(ours[1], theirs[1]) for ours, theirs in zip(arm.texts, base.texts, strict=False)]
    if not both:
        return None
    same = bootstrap_interval([[float(ours == theirs)] for ours, theirs in both])
    return EXACT.scalar(same, n=len(both), text_level=True)


def _kept(steps: Sequence[survival.Step]) -> list[list[float | None]]:
    """Return [token, share still the same, low, high] of up to 20 steps, evenly spread, with the last one."""
    chosen = steps
    if len(steps) > MOST_STEPS:
        chosen = [steps[round(n * (len(steps) - 1) / (MOST_STEPS - 1))] for n in range(MOST_STEPS)]
    return [[step.token, step.share.value, step.share.low, step.share.high] for step in chosen]
