"""Know a model whose replies contradict its drift: it decodes otherwise than it reads a whole text.

Drift is scored on whole passes over a text, and requests are answered step by step with a cache. A fault of
the steps alone (a kernel for one token, a cache) leaves every statistic of the drift as it was. But where one
token in a hundred changes on a text, about one in a hundred should be the first to change in a reply.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.drift.suites import generation
from bench.metrics import numerics, output_drift
from bench.stats.figure import Figure

# In 191 committed rows of schemes, first differences are at most 2.4 times as frequent as changed tokens of
# the text; the lower limit of one is at most 2.1 times the upper limit of the other (decision 0032).
MOST_TIMES = 5.0
LEAST_DIFFER = 3  # replies: fewer may have met a tie
RULE_OF_THREE = 3.0  # a share of which nothing was seen in n is at most 3 / n (Hanley, Lippman-Hand 1983)


def contradicted(figure_of: Callable[[str], Figure | None]) -> str | None:
    """Return in words how the greedy replies of a row contradict its drift; None if they do not.

    ``figure_of`` returns a figure of the row by its key. They cannot contradict where drift or replies were
    not compared, or where most replies of the same model differ in another process.
    """
    rate, alike = figure_of(generation.RATE.key), figure_of(output_drift.TOP1.key)
    if rate is None or rate.ci_low is None or alike is None or not alike.notes.get("n"):
        return None
    again = figure_of(numerics.OTHER_RUNS.key)
    if again is not None and 2 * again.value > (again.notes.get("n") or 0):
        return None
    least_alike = alike.value if alike.ci_low is None else alike.ci_low
    expected = max(1 - least_alike, RULE_OF_THREE / alike.notes["n"])
    differ, n = rate.notes.get("differ") or 0, rate.notes.get("n")
    if differ < LEAST_DIFFER or rate.ci_low <= MOST_TIMES * expected:
        return None
    return (
        f"{differ} of {n} replies differ, after {1 / rate.value:.1f} tokens on average: one token at a time "
        "it computes something else than over a whole text"
    )
