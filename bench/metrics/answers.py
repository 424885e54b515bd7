"""Compute the cost of an answer, which is a reply up to its end token, including the reasoning in it.

A pass decodes ``output_tokens`` for every request, so that both sides time the same number of steps. The time
stamp of a reply's end token says how long the answer took; for a batch, the last answer to end counts. A run
has these figures if its workers counted the tokens of its answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from bench.drift.generations import MOST_CUT
from bench.metrics import cost
from bench.metrics.throughput import totals
from bench.records import Answer, ArmRecord, RunRecord, TimedBatch
from bench.stats.figure import Figures, Metric
from bench.stats.intervals import Interval, ratio_interval

TOKENS = Metric(
    "answer_tokens",
    "tok",
    None,
    "mean tokens of a reply up to its end, reasoning included",
    "length of an answer up to its end",
)
REASONING = Metric(
    "reasoning_tokens",
    "tok",
    None,
    "mean tokens of a reply between the markers of reasoning, with them",
    "length of the reasoning in an answer",
)
PER_ANSWER = Metric(
    "cost_per_answer_usd", "USD", "lower",
    "C_run/N_ok * Σ(end of a batch's last answer − sent)/W", "cost of an answer up to its end",
)  # fmt: skip
PLACE = 5.4
METRICS = (PER_ANSWER, TOKENS, REASONING)
# If the ratio of lengths is outside this band, a row is judged by its answers and not by its tokens. MLPerf
# flags the same band.
SAME_LENGTH = (0.9, 1.1)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures; an empty dict if answers were not counted.

    All of them are None if more than half of the replies were cut at ``output_tokens``.
    """
    if arm.answers is None:
        return {}
    if not known(arm):
        return {metric.key: None for metric in METRICS}
    reasoning = [answer.reasoning for answer in arm.answers if answer.reasoning is not None]
    cut, sums = cut_share(arm.answers), totals(arm)
    dollars = cost.figures(arm, run)[cost.PER_REQUEST.key]
    usd = None if dollars is None or sums is None else dollars.interval.times(seconds(arm) / sums.wall_s)
    return {
        PER_ANSWER.key: PER_ANSWER.scalar(usd, cut=cut),
        TOKENS.key: TOKENS.scalar(_mean([answer.tokens for answer in arm.answers]), cut=cut),
        REASONING.key: REASONING.scalar(_mean(reasoning)) if reasoning else None,
    }


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the cost of an answer and of the mean lengths."""
    if not known(arm):
        return {}
    answers, sums = arm.answers or (), totals(arm)
    arithmetic = {TOKENS.key: f"{sum(answer.tokens for answer in answers)} / {len(answers)}"}
    dollars = cost.worked(arm, run).get(cost.PER_REQUEST.key)
    if dollars and sums:
        arithmetic[PER_ANSWER.key] = f"{dollars} * {seconds(arm):.6g} / {sums.wall_s:.6g}"
    reasoning = [answer.reasoning for answer in answers if answer.reasoning is not None]
    if reasoning:
        arithmetic[REASONING.key] = f"{sum(reasoning)} / {len(reasoning)}"
    return arithmetic


def known(arm: ArmRecord) -> bool:
    """Return whether at least half of the answers ended within ``output_tokens``."""
    return bool(arm.answers) and bool(arm.solo) and cut_share(arm.answers or ()) <= MOST_CUT


def cut_share(answers: Sequence[Answer]) -> float:
    """Return the share of answers that were cut at ``output_tokens`` before they ended."""
    return sum(not answer.ended for answer in answers) / len(answers)


def seconds(arm: ArmRecord) -> float:
    """Return the seconds of all answers of the solo pass, each batch up to the end of its last answer."""
    return math.fsum(_seconds_of_batches(arm))


def _seconds_of_batches(arm: ArmRecord) -> list[float]:
    return [_until_end(batch, answers) for batch, answers in _by_batch(arm)]


def _by_batch(arm: ArmRecord) -> Iterator[tuple[TimedBatch, tuple[Answer, ...]]]:
    left = iter(arm.answers or ())
    for batch in arm.solo:
        yield batch, tuple(islice(left, batch.requests))


def _until_end(batch: TimedBatch, answers: Sequence[Answer]) -> float:
    if batch.whole:
        return batch.duration_s
    longest = max(answer.tokens for answer in answers)
    return (batch.stamps_ns[longest - 1] - batch.sent_ns) / 1e9


def share_ratio(arm: ArmRecord, run: RunRecord) -> Interval | None:
    """Return the factor that turns a ratio of whole passes into a ratio of answers.

    Each side has a share: the time up to the end of its answers ÷ the time of its whole pass. The factor is
    the variant's share ÷ the baseline's, with an interval over batches of the same prompts. It is None if the
    answers cannot be compared.
    """
    base = run.baseline_of(arm)
    if base is None or arm.is_baseline or not (known(arm) and known(base)):
        return None
    if arm.prompts_digest != base.prompts_digest or arm.workload != base.workload:
        return None
    shares = []
    for side in (arm, base):
        mean = math.fsum(batch.duration_s for batch in side.solo) / len(side.solo)
        shares.append([taken_s / mean for taken_s in _seconds_of_batches(side)])
    return ratio_interval(*shares)


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts)
