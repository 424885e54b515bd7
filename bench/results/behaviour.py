"""What the behaviour suites say of a run: which rows are better or worse than their baselines at what.

Every figure that carries a test (``p``, with ``lost`` and ``gained`` items) takes part. All tests of a run
are one family: if nothing differs, the chance that any of them is called a change is at most 2 % (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.results.row import Row
from bench.stats.figure import Figure
from bench.stats.pairs import told_apart
from bench.stats.verdict import Verdict


@dataclass(frozen=True)
class Tested:
    """One test of a row: its metric, the figure with counts, the accuracies, and the verdict.

    ``verdict`` is None where the baseline is at chance, so that it has nothing to lose.
    """

    metric: str
    figure: Figure
    accuracy: Figure | None
    baseline: Figure | None
    verdict: Verdict | None

    @property
    def suite(self) -> str:
        """Return the name of the suite, as in a config; of tasks of lm-eval, with the task."""
        return str(self.figure.notes.get("suite", "")) or self.metric.rpartition("_")[0].replace("_", "-")


def tested(
    rows: Mapping[tuple[str, str], Row], baselines: Mapping[str, Row]
) -> dict[tuple[str, str], list[Tested]]:
    """Return the tests of every row by its key, judged as one family."""
    family = [
        (row, key, figure)
        for row in rows.values()
        for key, figure in row.metrics.items()
        if figure is not None and "p" in figure.notes and not row.is_baseline
    ]
    judged = [one for one in family if not one[2].notes.get("at_chance")]
    apart = told_apart([float(figure.notes["p"]) for _row, _key, figure in judged])
    differs = {(row.key, key): one for (row, key, _figure), one in zip(judged, apart, strict=True)}
    found: dict[tuple[str, str], list[Tested]] = {}
    for row, key, figure in family:
        accuracy = f"{key.rpartition('_')[0]}_accuracy"
        base = baselines[row.group]
        sides = (row.figure(accuracy), base.figure(accuracy))
        found.setdefault(row.key, []).append(
            Tested(key, figure, *sides, _verdict(figure, differs.get((row.key, key))))
        )
    return found


def _verdict(figure: Figure, differs: bool | None) -> Verdict | None:
    if differs is None:
        return None
    if not differs:
        return Verdict.CANNOT_TELL
    better = figure.notes["gained"] > figure.notes["lost"]
    return Verdict.BETTER if better else Verdict.WORSE
