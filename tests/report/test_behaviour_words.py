"""Suites in words: worse and better with their counts, no change, and suites at chance."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bench.report.behaviour import behaviour_words, suites_note
from bench.results import behaviour
from bench.stats.figure import Metric
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import Verdict

CHANGE = Metric("x_change", "1", "higher", "f", "d")
PREFERENCE = Metric("x_change", "1", None, "f", "d")


def suite(
    name: str, verdict: str | None, metric: Metric = CHANGE, right: Any = None, **notes: Any
) -> behaviour.Tested:
    figure = metric.scalar(0.1, **{"n": 100, "lost": 7, "gained": 3, **notes})
    assert figure is not None
    shares = [None if right is None else metric.scalar(share) for share in (right or (0, 0))]
    return behaviour.Tested(f"{name}_change", figure, shares[0], shares[1], verdict and Verdict(verdict))  # type: ignore


def words(*suites: behaviour.Tested) -> str:
    run: Any = SimpleNamespace(behaviour={("", "v"): list(suites)})
    row: Any = SimpleNamespace(key=("", "v"), metrics={one.metric: one.figure for one in suites})
    return behaviour_words(run, row)


def preferences(low: float | None, high: float | None, **notes: Any) -> behaviour.Tested:
    """Return a suite without right answers, whose pairs did not change sides often enough for a verdict."""
    found = suite("pairs", "cannot tell", PREFERENCE, **notes)
    figure = PREFERENCE.scalar(Interval(0.1, low, high), **found.figure.notes)
    assert figure is not None
    return replace(found, figure=figure)


OTHERS = "10 of 100 pairs prefer the other sentence (3 the first, 7 the second)"
MOVED, FEW, WHICH = (
    "pairs moved by 0.100 nat [0.0500, 0.150]",
    "too few for a verdict",
    "prefer the other sentence",
)
TOO_FEW = f"pairs moved by 0.100 nat [0.0500, 0.150], but {OTHERS}: too few for a verdict"
AGES = {"towards": ["the young", "the old"]}
ABOUT = "prefer the other sentence (3 the one about the young, 7 the one about the old)"
SAME, CHANCE = suite("logic", "cannot tell"), suite("factuality", None)


@pytest.mark.parametrize(
    ("suites", "said"),
    [
        ([], ""),
        ([SAME], "no change seen in logic"),
        ([SAME, CHANCE], "no change seen in logic"),
        ([CHANCE], ""),
        ([suite("logic", "worse"), SAME], "worse at logic (7 lost and 3 gained of 100)"),
        (
            [suite("logic", "better", right=(0.75, 0.5)), suite("pairs", "worse")],
            "better at logic (75.0% right, the baseline 50.0%; 7 lost and 3 gained of 100); "
            "worse at pairs (7 lost and 3 gained of 100)",
        ),
        (
            [suite("pairs", "worse", PREFERENCE), suite("ages", "worse", PREFERENCE, **AGES)],
            f"pairs moved: {OTHERS}; ages moved: 10 of 100 pairs {ABOUT}",
        ),
        ([preferences(0.05, 0.15, **AGES)], f"{MOVED} towards the young, but 10 of 100 pairs {ABOUT}: {FEW}"),
        ([preferences(0.05, 0.15, lost=0, gained=0)], f"{MOVED}, but 0 of 100 pairs {WHICH}: {FEW}"),
        ([SAME, preferences(-0.1, 0.3)], "no change seen in logic and pairs"),
        ([preferences(None, None)], "no change seen in pairs"),
        ([SAME, preferences(0.05, 0.15)], f"no change seen in logic; {TOO_FEW}"),
        ([preferences(0.05, 0.15)], TOO_FEW),
        (
            [suite("logic", "worse"), SAME, preferences(0.05, 0.15)],
            f"worse at logic (7 lost and 3 gained of 100); {TOO_FEW}",
        ),
    ],
)
def test_suites_in_words(suites: list[behaviour.Tested], said: str) -> None:
    assert words(*suites) == said


def test_questions_that_only_the_baseline_could_be_asked_are_said() -> None:
    """The figures are of the others, so a row with a shorter context would look as good as its baseline."""
    short = suite("long-context", "cannot tell", unanswered=12)
    said = "not asked, because its context is too short: 12 of long-context"
    assert words(short, SAME) == f"no change seen in long-context and logic; {said}"
    assert words(suite("long-context", "worse", unanswered=12)).endswith(f"of 100); {said}")
    run: Any = SimpleNamespace(behaviour={})
    row: Any = SimpleNamespace(key=("", "v"), metrics={"x": None, short.metric: short.figure})
    assert behaviour_words(run, row) == said


def note(*rows: list[behaviour.Tested]) -> str:
    run: Any = SimpleNamespace(behaviour=dict(enumerate(rows)))
    return suites_note(run)


SURE = "Suites: worse and better are said in at most 2% of tables without a difference."


def test_the_note_names_the_largest_of_the_changes_that_each_suite_can_show() -> None:
    found = note(
        [suite("logic", "worse", least_change=0.031), suite("pairs", "worse", least_change=0.2)],
        [suite("logic", "cannot tell", least_change=0.052), suite("pairs", "worse", least_change=0.1)],
    )
    power = "One test alone finds with 80 % probability a change of so many points: logic 5.2, pairs 20.0."
    assert found == f"{SURE} {power}"


def test_suites_at_chance_have_no_verdict_and_no_power() -> None:
    guesses = suite("factuality", None, least_change=0.3, at_chance=True)
    found = note([guesses, SAME], [suite("factuality", None, at_chance=True)])
    assert found == f"{SURE} The baseline is at chance at factuality: no verdict."
    rarely = "The baseline is right too rarely at logic for a loss to be found with 80 %: no verdict."
    assert note([suite("logic", None), guesses]) == f"{found} {rarely}"
    assert note([]) == note() == ""
