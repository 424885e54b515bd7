"""Judge behaviour suites: the baseline and a variant answer the same items, and their answers are compared.

The comparison is paired by item. An item that the baseline answered right and the variant wrong is ``lost``,
and the other way round it is ``gained``. Equal accuracy can hide many of both (arXiv 2407.09141, "Accuracy is
Not All You Need"). All functions are pure functions of the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from bench import plugins
from bench.drift import items
from bench.drift.chance import at_chance, guessed
from bench.records import ArmRecord, Json, RunRecord, SuiteAnswers
from bench.stats.figure import DIFFERENCE, SHARE, Figure, Figures, Metric
from bench.stats.proportions import least_change, mcnemar, paired_difference, wilson

Answer = tuple[float, ...] | str  # log-likelihoods of the choices, lm-eval's values, or the text of a reply
Right = Callable[[Json, Answer], bool]  # says whether an answer to an item is right
POWER = 0.8  # ``least_change`` is the smallest change that is detected with this probability


def likeliest(item: Json, answer: Answer) -> bool:
    """Return whether the right choice has the highest log-likelihood; of equal choices the first counts."""
    assert isinstance(answer, tuple)
    return bool(answer.index(max(answer)) == item["right"])


def answers(answered: SuiteAnswers) -> tuple[Answer | None, ...]:
    """Return the answer to each item; None for an item that did not fit the model's context."""
    return answered.scores or answered.replies or answered.judged


def on_both(run: RunRecord, arm: ArmRecord, suite: str) -> list[tuple[Json, Answer, Answer]]:
    """Return (item, baseline's answer, variant's answer) for every item that both answered.

    Items that trained a cascade's rule are left out; in another run the baseline may be a cascade too.
    """
    both_sides, base = _to_same_items(run, arm, suite), run.baseline_of(arm)
    if arm.is_baseline or both_sides is None or base is None:
        return []
    theirs, ours = both_sides
    both = zip(theirs.items, answers(theirs), answers(ours), strict=True)
    used = trained_on(arm, suite) | trained_on(base, suite)
    return [
        (item, before, after)
        for item, before, after in both
        if before is not None and after is not None and item["id"] not in used
    ]


def with_unanswered(figures: Figures, change: str, run: RunRecord, arm: ArmRecord, suite: str) -> Figures:
    """Return the figures of a suite; the one called ``change`` notes how many items only the baseline
    answered, because they do not fit the row's context."""
    figure, both_sides = figures.get(change), _to_same_items(run, arm, suite)
    pairs = zip(*map(answers, both_sides), strict=True) if both_sides else ()
    count = sum(theirs is not None and ours is None for theirs, ours in pairs)
    if not count or figure is None:
        return figures
    return {**figures, change: replace(figure, notes={**figure.notes, "unanswered": count})}


def trained_on(arm: ArmRecord, suite: str) -> frozenset[str]:
    """Return the ids of the items that trained the rule of a cascade, so that no figure may use them."""
    learnt = (arm.cascade or {}).get("learnt", ())
    return frozenset(item for form in learnt if form["suite"] == suite for item in form["ids"])


def items_of(run: RunRecord, arm: ArmRecord, suite: str) -> tuple[Json, ...] | None:
    """Return the items of a suite that a row answered, from its baseline, which keeps them; None if none."""
    both_sides = _to_same_items(run, arm, suite)
    return both_sides[0].items if both_sides else None


def _to_same_items(run: RunRecord, arm: ArmRecord, suite: str) -> tuple[SuiteAnswers, SuiteAnswers] | None:
    """Return (baseline's answers, row's answers); None if one is missing, or if the items differ.

    Only the baseline's answers keep the items themselves.
    """
    base = run.baseline_of(arm)
    ours, theirs = arm.suites.get(suite), base.suites.get(suite) if base else None
    return (theirs, ours) if ours and theirs and ours.digest == theirs.digest else None


class Part(NamedTuple):
    """Items of a suite that are judged by themselves: the end of their metrics' names, ``words`` for them,
    and which items they are."""

    name: str
    words: str
    has: Callable[[Json], bool]


@dataclass(frozen=True)
class Suite:
    """Define a suite with right and wrong answers; a module in bench/drift/suites is built from one.

    ``what`` says in words which answers are right, and ``right`` decides it. ``output_tokens`` is the length
    of a reply; 0 means that the choices are scored. ``chat`` puts the prompts into the model's chat template.
    The items are in ``path``, or in the data of this package. With ``from_file`` they are in the user's file
    that ``drift.items`` names. ``parts`` are there if an optimisation can lose items of one part and gain
    those of another: then each part has a test, and the whole has none, because the two would cancel.
    """

    name: str
    what: str
    right: Right = likeliest
    output_tokens: int = 0
    chat: bool = False
    path: Path | None = None
    from_file: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def key(self) -> str:
        """Return the name in the form in which keys of metrics and the file of items begin."""
        return self.name.replace("-", "_").replace(" ", "_")

    @cached_property
    def accuracy(self) -> Metric:
        """Return the metric for the share of right answers."""
        formula = f"share of items: {self.what}; interval by Wilson"
        return Metric(f"{self.key}_accuracy", "1", "higher", formula, f"{self.name}: share right", SHARE)

    @cached_property
    def change(self) -> Metric:
        """Return the metric for the difference of this share from the baseline's."""
        formula = "(gained − lost) ÷ items, paired; interval by Newcombe's method 10"
        formula += "" if self.parts else "; p by McNemar's exact test"
        return Metric(
            f"{self.key}_change",
            "1",
            "higher",
            formula,
            f"{self.name}: share right − the baseline's",
            DIFFERENCE,
        )

    @property
    def accuracies(self) -> tuple[Metric, ...]:
        """Return the shares of right answers, of all items and of each part, which a baseline has too."""
        return self.accuracy, *(self.of(part).accuracy for part in self.parts)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of the suite, and of its parts."""
        of_parts = (metric for part in self.parts for metric in self.of(part).metrics)
        return self.accuracy, self.change, *of_parts

    def of(self, part: Part) -> Suite:
        """Return a part as a suite of its own."""
        return replace(self, name=f"{self.name} {part.name}", what=part.words, parts=())

    def items(self, file: str | None = None) -> tuple[Json, ...]:
        """Return the items; each has ``chat: True`` if the suite uses the chat template."""
        if self.from_file and file:
            return items.read_closed(file)
        return shipped(self.path or items.DATA / f"{self.key}.jsonl", self.chat)

    def figures(self, arm: ArmRecord, run: RunRecord) -> Figures:
        """Return the accuracy of a row, and the change of a variant; None if the suite was not asked."""
        both = None if arm.is_baseline else on_both(run, arm, self.name)
        found = self.compared(self.asked(arm, run), both)
        return with_unanswered(found, self.change.key, run, arm, self.name)

    def compared(
        self,
        asked: Sequence[tuple[Json, Answer]],
        both: Sequence[tuple[Json, Answer, Answer]] | None,
        **about: object,
    ) -> Figures:
        """Return the figures of a row's answers and of the answers that both sides gave.

        ``both`` is None for a baseline. ``about`` is added to the notes of each figure.
        """
        result: Figures = {metric.key: None for metric in self.metrics}
        if not asked:
            return result
        right = [self.right(item, answer) for item, answer in asked]
        items_asked = [item for item, _answer in asked]
        notes = {"n": len(right), "chance": guessed(items_asked), "by": _by(items_asked, right), **about}
        result[self.accuracy.key] = self.accuracy.scalar(wilson(sum(right), len(right)), **notes)
        if both:
            result[self.change.key] = self._change(both, about)
        for part in self.parts:
            its_own = [answer for answer in asked if part.has(answer[0])]
            of_both = None if both is None else [answer for answer in both if part.has(answer[0])]
            result |= self.of(part).compared(its_own, of_both, **{"suite": part.words, **about})
        return result

    def asked(self, arm: ArmRecord, run: RunRecord) -> list[tuple[Json, Answer]]:
        """Return (item, answer) for every item that a row answered, without those that trained its rule."""
        both_sides = _to_same_items(run, arm, self.name)
        if both_sides is None:
            return []
        theirs, ours = both_sides
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
        difference = paired_difference(base - lost, lost, gained, n - base - gained)
        notes: dict[str, object] = {"n": n, "lost": lost, "gained": gained, **about}
        notes["recovery"] = (base - lost + gained) / base if base else None
        if not self.parts:
            notes["p"] = mcnemar(lost, gained)
            notes["at_chance"] = at_chance([item for item, _b, _a in both], before)
            notes["least_change"] = least_change(base, n, POWER)
        return self.change.scalar(difference, **notes)


def suites_of(names: Iterable[object]) -> list[Suite]:
    """Return the suites among these names that ask the model their own items.

    The other suites compare what is measured anyway. An entry that is not a name, but the block for lm-eval,
    is left out.
    """
    modules = (plugins.load("drift.suites", name) for name in names if isinstance(name, str))
    suites = (getattr(module, "SUITE", None) for module in modules)
    return [suite for suite in suites if suite is not None]


@cache
def shipped(path: Path, chat: bool) -> tuple[Json, ...]:
    """Return the items that this package has for a suite."""
    shipped_items = items.read_items(path)
    return tuple({**item, "chat": True} for item in shipped_items) if chat else shipped_items


def _by(asked: Sequence[Json], right: Sequence[bool]) -> dict[str, list[int]]:
    """Return {value: [right, asked]} by language, group and kind, if the items have more than one of them."""
    counts: dict[str, Counter[bool]] = {}
    for key in ("lang", "group", "kind"):
        values = [item.get(key) for item in asked]
        if len(set(values)) > 1:
            for value, ok in zip(values, right, strict=True):
                counts.setdefault(str(value), Counter())[ok] += 1
    return {name: [count[True], count.total()] for name, count in counts.items()}
