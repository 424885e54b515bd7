"""Choose the ratio by which a row is judged: the cost per token, or per answer if the lengths differ.

A variant with cheaper tokens is not cheaper if it writes 30 % more of them for the same prompt. So a row is
judged by the cost per answer if the length of its answers differs from the baseline's by more than a tenth,
and always in a workload of whole answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics import answers
from bench.results.row import Row
from bench.stats.figure import value_of

if TYPE_CHECKING:
    from bench.metrics.comparisons import Comparison
    from bench.results.run_summary import RunSummary

ANSWERS = "reasoning"  # the workload of whole answers


def headline(run: RunSummary, row: Row) -> Comparison | None:
    """Return the ratio by which a row is judged, or None if it has none.

    It is the ratio of the cost per answer if the row is judged by its answers. Otherwise it is that of the
    cost per token, or per good request for a server with limits.
    """
    per_answer = run.comparison(row, answers.PER_ANSWER)
    if per_answer is not None and (row.workload.get("name") == ANSWERS or other_lengths(run, row)):
        return per_answer
    return run.comparison(row, row.headline)


def by_answer(run: RunSummary, row: Row) -> bool:
    """Return whether the row is judged by the cost per answer."""
    ratio = headline(run, row)
    return ratio is not None and ratio.metric == answers.PER_ANSWER.key


def other_lengths(run: RunSummary, row: Row) -> bool:
    """Return whether the row's answers are longer or shorter than the baseline's by more than a tenth."""
    ratio, (low, high) = times_as_long(run, row), answers.SAME_LENGTH
    return ratio is not None and not low <= ratio <= high


def times_as_long(run: RunSummary, row: Row) -> float | None:
    """Return the mean length of the row's answers divided by the baseline's.

    Returns None if one of them is not known, or if the two sides got different prompts.
    """
    if row.is_baseline or run.comparison(row, answers.PER_ANSWER) is None:
        return None
    tokens, of_baseline = (value_of(side.figure(answers.TOKENS)) for side in (row, run.baseline_of(row)))
    return tokens / of_baseline if tokens and of_baseline else None
