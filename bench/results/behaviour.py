"""Say which rows of a run are better or worse than their baselines in which behaviour suite.

Every figure with the result of a test (``p``, with ``lost`` and ``gained`` items) is judged. The tests of a
run are one family, corrected by Holm's method (1979): if nothing differs, the probability that any of them
shows a change is at most 2 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.results.row import Row
from bench.stats.figure import Figure
from bench.stats.holm import told_apart
from bench.stats.ratio_verdict import Verdict


@dataclass(frozen=True)
class Tested:
    """The test of one row in one suite: its metric, the figure with counts, both accuracies and the verdict.

    ``verdict`` is None if the baseline is at chance, because it then has no ability to lose; and if nothing
    was found and even the loss of all that is right could not be.
    """

    metric: str
    figure: Figure
    accuracy: Figure | None
    baseline: Figure | None
    verdict: Verdict | None

    @property
    def suite(self) -> str:
        """Return the suite's name as in a config."""
        return suite_of(self.metric, self.figure)


def suite_of(metric: str, figure: Figure) -> str:
    """Return the name of the suite that a metric is of, as in a config; for lm-eval it includes the task."""
    return str(figure.notes.get("suite", "")) or metric.rpartition("_")[0].replace("_", "-")


def tested(
    rows: Mapping[tuple[str, str], Row], baselines: Mapping[str, Row]
) -> dict[tuple[str, str], list[Tested]]:
    """Return the tests of every row by the row's key, with verdicts that are corrected as one family."""
    family = [
        (row, key, figure)
        for row in rows.values()
        for key, figure in row.metrics.items()
        if figure is not None and "p" in figure.notes and not row.is_baseline
    ]
    judged = [(row, key, figure) for row, key, figure in family if not figure.notes.get("at_chance")]
    significant = told_apart([float(figure.notes["p"]) for _row, _key, figure in judged])
    differs = {
        (row.key, key): differing for (row, key, _figure), differing in zip(judged, significant, strict=True)
    }
    by_row: dict[tuple[str, str], list[Tested]] = {}
    for row, key, figure in family:
        accuracy = f"{key.rpartition('_')[0]}_accuracy"
        base = baselines[row.group]
        sides = (row.figure(accuracy), base.figure(accuracy))
        by_row.setdefault(row.key, []).append(
            Tested(key, figure, *sides, _verdict(figure, differs.get((row.key, key))))
        )
    return by_row


def _verdict(figure: Figure, differs: bool | None) -> Verdict | None:
    """Return the verdict of a test; None if it was not judged (``differs`` is None) or can see no loss. A
    preference that moves is worse, whichever way."""
    if differs is None:
        return None
    if not differs:
        return None if figure.notes.get("least_change") is None else Verdict.CANNOT_TELL
    if figure.higher_is_better is None:
        return Verdict.WORSE
    better = figure.notes["gained"] > figure.notes["lost"]
    return Verdict.BETTER if better else Verdict.WORSE
