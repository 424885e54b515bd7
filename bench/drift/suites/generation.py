"""Drift of greedy replies to the same prompts: identical replies, first difference, length."""

from __future__ import annotations

from bench.drift import generations as drift
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

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
    pairs = drift.pairs(base, arm)
    return {
        EXACT.key: EXACT.scalar(drift.exact_match(pairs), n=len(pairs)),
        DIVERGENCE.key: DIVERGENCE.scalar(drift.first_divergence(pairs)),
        LENGTH.key: LENGTH.scalar(drift.length_ratio(pairs), cut=drift.cut_share(base, arm)),
    }
