"""Compute the cost per character, because models with different tokenizers split a text into other tokens.

A run has these figures if its model has a tokenizer and trained weights.
"""

from __future__ import annotations

from bench.metrics import cost
from bench.metrics.throughput import Totals, totals
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

PER_TOKEN = Metric(
    "characters_per_token",
    "1",
    None,
    "Σ characters of prompts and replies/Σ(n_in + n_out)",
    "characters per token of the tokenizer",
)
PER_1K = Metric(
    "cost_per_1k_characters_usd",
    "USD",
    "lower",
    "1000 * C_run / Σ characters of prompts and replies",
    "cost of 1,000 characters of text",
)
PLACE = 5.2
METRICS = (PER_TOKEN, PER_1K)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return both figures; an empty dict if characters were not counted."""
    if arm.characters is None:
        return {}
    counted = _counted(arm)
    if counted is None:
        return {metric.key: None for metric in METRICS}
    sums, characters = counted
    tokens = sums.input_tokens + sums.output_tokens
    dollars = cost.figures(arm, run)[cost.PER_1K.key]
    usd = None if dollars is None else dollars.interval.times(tokens / characters)
    return {
        PER_TOKEN.key: PER_TOKEN.scalar(characters / tokens),
        PER_1K.key: PER_1K.scalar(usd),
    }


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of both figures."""
    counted = _counted(arm)
    if counted is None:
        return {}
    sums, characters = counted
    tokens = f"({sums.input_tokens} + {sums.output_tokens})"
    arithmetic = {PER_TOKEN.key: f"{characters} / {tokens}"}
    if dollars := cost.worked(arm, run).get(cost.PER_1K.key):
        arithmetic[PER_1K.key] = f"{dollars} * {tokens} / {characters}"
    return arithmetic


def _counted(arm: ArmRecord) -> tuple[Totals, int] | None:
    """Return the sums of the solo pass and its characters; None if there are none."""
    sums = totals(arm)
    if arm.characters is None or sums is None or not sum(arm.characters):
        return None
    return sums, sum(arm.characters)
