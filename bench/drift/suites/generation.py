"""Drift of greedy replies to the same prompts: identical replies, first difference, length."""

from __future__ import annotations

from bench.drift import generations as drift
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.intervals import bootstrap_interval

EXACT = Metric("exact_match", "1", "higher", "share of replies identical token by token up to their end", "")
DIVERGENCE = Metric(
    "first_divergence_token", "tok", "higher", "mean index of the first differing token (length if none)", ""
)
LENGTH = Metric("length_ratio", "1", None, "Σ reply length ÷ Σ the baseline's, both cut at output_tokens", "")
PLACE = 10
METRICS = (EXACT, DIVERGENCE, LENGTH)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures, or None for each of them if the replies cannot be compared.

    They cannot for a baseline, random weights, other prompts or another output length than the baseline's,
    and if the config leaves them out (``drift.suites``).
    """
    base = run.baseline_of(arm)
    found: Figures = {metric.key: None for metric in METRICS}
    if "generation" not in run.spec.get("drift", {}).get("suites", ("generation",)):
        return found
    if arm.is_baseline or base is None or not arm.solo or not base.solo:
        return found
    if arm.prompts_digest != base.prompts_digest or (arm.loaded and arm.loaded.facts.random_weights):
        return found
    if arm.workload.get("output_tokens") != base.workload.get("output_tokens"):
        return found
    if arm.cascade is not None and not arm.cascade["same_tokens"]:
        return found | {EXACT.key: _by_text(base, arm)}
    pairs = drift.pairs(base, arm)
    return {
        EXACT.key: EXACT.scalar(drift.exact_match(pairs), n=len(pairs)),
        DIVERGENCE.key: DIVERGENCE.scalar(drift.first_divergence(pairs)),
        LENGTH.key: LENGTH.scalar(drift.length_ratio(pairs), cut=drift.cut_share(base, arm)),
    }


def _by_text(base: ArmRecord, arm: ArmRecord) -> Figure | None:
    """Return the share of replies with the same text: tokens of another tokenizer cannot be compared.

    A result keeps the beginnings of up to 64 replies.
    """
    both = [(ours[1], theirs[1]) for ours, theirs in zip(arm.texts, base.texts, strict=False)]
    if not both:
        return None
    same = bootstrap_interval([[float(ours == theirs)] for ours, theirs in both])
    return EXACT.scalar(same, n=len(both), text_level=True)
