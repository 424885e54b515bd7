"""Behaviour suites: the same items answered by the baseline and by a variant, and what changed.

Answers to the same item belong together, so everything is paired: an item that was right and is wrong now is
``lost``, the other way round ``gained``. Equal accuracy can hide many of both (arXiv 2407.09141, "Accuracy is
Not All You Need"). Pure functions of what was answered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from bench import plugins
from bench.drift import items
from bench.records import ArmRecord, Json, RunRecord, SuiteAnswers
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.proportions import least_change, mcnemar, paired_difference, wilson

Answer = tuple[float, ...] | str  # log-likelihoods of the choices, the text of a reply, or lm-eval's values
Right = Callable[[Json, Answer], bool]
POWER = 0.8


def likeliest(item: Json, answer: Answer) -> bool:
    """Return whether the right choice has the highest log-likelihood; the first of equals counts."""
    assert isinstance(answer, tuple)
    return bool(answer.index(max(answer)) == item["right"])


def answers(found: SuiteAnswers) -> tuple[Answer | None, ...]:
    """Return the answer to each item; None for an item that did not fit the model's context."""
    return found.scores or found.replies or found.judged


def on_both(run: RunRecord, arm: ArmRecord, suite: str) -> list[tuple[Json, Answer, Answer]]:
    """Return (item, the baseline's answer, the variant's) for every item that both answered."""
    found = _to_same_items(run, arm, suite)
    if arm.is_baseline or found is None:
        return []
    theirs, ours = found
    both = zip(theirs.items, answers(theirs), answers(ours), strict=True)
    used = trained_on(arm, suite)
    return [
        (item, before, after)
        for item, before, after in both
        if before is not None and after is not None and item["id"] not in used
    ]


def trained_on(arm: ArmRecord, suite: str) -> frozenset[str]:
    """Return the names of the items that trained the rule of a row that is a cascade: no figure has them."""
    learnt = (arm.cascade or {}).get("learnt", ())
    return frozenset(name for one in learnt if one["suite"] == suite for name in one["ids"])


def items_of(run: RunRecord, arm: ArmRecord, suite: str) -> tuple[Json, ...] | None:
    """Return the items of a suite that a row answered, which its baseline keeps; None without them."""
    found = _to_same_items(run, arm, suite)
    return found[0].items if found else None


def _to_same_items(run: RunRecord, arm: ArmRecord, suite: str) -> tuple[SuiteAnswers, SuiteAnswers] | None:
    """Return the baseline's answers, which have the items, and the row's; None if either has none, or if they
    are to other items."""
    base = run.baseline_of(arm)
    ours, theirs = arm.suites.get(suite), base.suites.get(suite) if base else None
    return (theirs, ours) if ours and theirs and ours.digest == theirs.digest else None


@dataclass(frozen=True)
class Suite:
    """A suite with right and wrong answers; a file in bench/drift/suites makes its module of one.

    ``what`` says what is counted as right. ``output_tokens`` is the length of a reply, 0 where choices are
    scored; ``chat`` puts the prompts into the model's chat template. The items are
    in ``path``, or with the suites of this package; with ``from_file`` they are those of ``drift.items``.
    """

    name: str
    what: str
    right: Right = likeliest
    output_tokens: int = 0
    chat: bool = False
    path: Path | None = None
    from_file: bool = False

    @property
    def key(self) -> str:
        """Return the name as it begins the keys of metrics, and the name of the file of items."""
        return self.name.replace("-", "_").replace(" ", "_")

    @cached_property
    def accuracy(self) -> Metric:
        """Return the metric of the share that is right."""
        formula = f"share of items: {self.what}; interval by Wilson"
        return Metric(f"{self.key}_accuracy", "1", "higher", formula, f"{self.name}: share right")

    @cached_property
    def change(self) -> Metric:
        """Return the metric of the difference to the baseline."""
        formula = (
            "(gained − lost) ÷ items, paired; interval by Newcombe's method 10; p by McNemar's exact test"
        )
        return Metric(
            f"{self.key}_change", "1", "higher", formula, f"{self.name}: share right − the baseline's"
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of the suite."""
        return self.accuracy, self.change

    def items(self, file: str | None = None) -> tuple[Json, ...]:
        """Return the items, with ``chat`` where the suite asks in the chat template."""
        if self.from_file and file:
            return items.read_closed(file)
        return shipped(self.path or items.DATA / f"{self.key}.jsonl", self.chat)

    def figures(self, arm: ArmRecord, run: RunRecord) -> Figures:
        """Return the accuracy of a row, and for a variant its change; None where the suite was not asked."""
        both = None if arm.is_baseline else on_both(run, arm, self.name)
        return self.compared(self.asked(arm, run), both)

    def compared(
        self,
        asked: Sequence[tuple[Json, Answer]],
        both: Sequence[tuple[Json, Answer, Answer]] | None,
        **about: object,
    ) -> Figures:
        """Return the figures of what a row answered and of what both sides did; ``both`` is None for a
        baseline, and ``about`` stands in the notes of each figure."""
        found: Figures = {metric.key: None for metric in self.metrics}
        if not asked:
            return found
        right = [self.right(item, answer) for item, answer in asked]
        items_asked = [item for item, _answer in asked]
        notes = {"n": len(right), "chance": _chance(items_asked), "by": _by(items_asked, right), **about}
        found[self.accuracy.key] = self.accuracy.scalar(wilson(sum(right), len(right)), **notes)
        if both:
            found[self.change.key] = self._change(both, about)
        return found

    def asked(self, arm: ArmRecord, run: RunRecord) -> list[tuple[Json, Answer]]:
        """Return (item, answer) for every item that a row answered."""
        found = _to_same_items(run, arm, self.name)
        if found is None:
            return []
        theirs, ours = found
        both, used = zip(theirs.items, answers(ours), strict=True), trained_on(arm, self.name)
        return [(item, answer) for item, answer in both if answer is not None and item["id"] not in used]

    def _change(
        self, both: Sequence[tuple[Json, Answer, Answer]], about: Mapping[str, object]
    ) -> Figure | None:
        before = [self.right(item, answer) for item, answer, _after in both]
        after = [self.right(item, answer) for item, _before, answer in both]
        lost = sum(a and not b for a, b in zip(before, after, strict=True))
        gained = sum(b and not a for a, b in zip(before, after, strict=True))
        n, base = len(both), sum(before)
        found = paired_difference(base - lost, lost, gained, n - base - gained)
        return self.change.scalar(
            found, n=n, lost=lost, gained=gained, p=mcnemar(lost, gained),
            recovery=(base - lost + gained) / base if base else None,
            at_chance=at_chance(base, n, _chance([item for item, _b, _a in both])),
            least_change=least_change(base, n, POWER), **about,
        )  # fmt: skip


def suites_of(names: Iterable[object]) -> list[Suite]:
    """Return the suites among these names that ask the model items of their own; the others compare what is
    measured anyway. What is no name, but says what lm-eval is asked, is left out."""
    modules = (plugins.load("drift.suites", name) for name in names if isinstance(name, str))
    found = (getattr(module, "SUITE", None) for module in modules)
    return [suite for suite in found if suite is not None]


@cache
def shipped(path: Path, chat: bool) -> tuple[Json, ...]:
    """Return the items that are shipped with a suite."""
    found = items.read_items(path)
    return tuple({**item, "chat": True} for item in found) if chat else found


def _chance(asked: Sequence[Json]) -> float:
    """Return the share that blind guessing would have right: nothing where replies are free text."""
    return math.fsum(map(_chance_of, asked)) / len(asked)


def _chance_of(item: Json) -> float:
    return float(item.get("chance", 1 / len(item["choices"]) if "choices" in item else 0.0))


def at_chance(right: int, n: int, chance: float) -> bool:
    """Return whether a baseline is not shown to be better than guessing, so that it has nothing to lose.

    Free text cannot be right by chance, but fewer than six right items cannot show a loss at all: six lost
    of six have p = 2 · 0.5⁶ = 0.03.
    """
    if chance == 0:
        return right < 6
    low = wilson(right, n).low
    return low is not None and low <= chance


def _by(asked: Sequence[Json], right: Sequence[bool]) -> dict[str, list[int]]:
    """Return [right, asked] by language and by group, where there is more than one."""
    counts: dict[str, Counter[bool]] = {}
    for key in ("lang", "group", "kind"):
        values = [item.get(key) for item in asked]
        if len(set(values)) > 1:
            for value, ok in zip(values, right, strict=True):
                counts.setdefault(str(value), Counter())[ok] += 1
    return {name: [count[True], count.total()] for name, count in counts.items()}
