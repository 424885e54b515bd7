"""Readings of runs in reports: intervals that lack an end, advice, names that are cut, and saturation."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.gate.findings import Effort, GateVerdict, block
from bench.metrics import numerics
from bench.report import gate_sides
from bench.report.drift_pages import _numbers
from bench.report.gate_reading import advice_on, without_replaced
from bench.report.scatter import SMALLEST_RATIO, data_of


@pytest.mark.parametrize(
    ("low", "high", "drawn"),
    [(0.5, 0.7, (0.5, 0.7)), (None, 0.7, (None, None)), (0.5, None, (None, None)),
     (SMALLEST_RATIO, 0.7, (None, None)), (0.5, 1 / SMALLEST_RATIO, (None, None))],
)  # fmt: skip
def test_an_interval_without_an_end_is_not_drawn(
    sample: ModuleType, low: float | None, high: float | None, drawn: tuple[float | None, float | None]
) -> None:
    rows = [sample.baseline(), sample.drifting(sample.variant("v"), 0.01)]
    run = sample.summary(sample.run(rows, [sample.ratio("v", 0.6, low, high, "better")]))
    (_base, found) = data_of(run, "")
    assert (found.low, found.high) == drawn


@pytest.mark.parametrize("verdict", list(GateVerdict))
def test_advice_is_on_what_decided(sample: ModuleType, verdict: GateVerdict) -> None:
    """Only a change that was not compared has advice, and only where that is the gate's verdict."""
    rules = [sample.finding("m", "max 1", one, "because") for one in (verdict, GateVerdict.UNREACHED)]
    gate = block(rules, Effort("commits"))
    not_compared = (GateVerdict.UNREACHED, GateVerdict.BROKEN_BASE)
    assert bool(advice_on(gate)) is (gate.verdict in not_compared)


@pytest.mark.parametrize(("value", "left"), [(1.05, []), (None, [0.179])])
def test_a_ratio_stays_where_the_gate_has_no_figure(
    sample: ModuleType, value: float | None, left: list[float]
) -> None:
    metric = "cost_per_1k_tokens_usd"
    rule = sample.finding(metric, "max 1", GateVerdict.ERROR, "x", kind="interval", value=value)
    run = sample.summary(sample.gate_run([rule]))
    assert [one.ratio for one in without_replaced(run).comparisons] == left
    solo = replace(run, gate=None)
    assert [one.ratio for one in without_replaced(solo).comparisons] == [0.179]


@pytest.mark.parametrize(
    "count", [gate_sides.MOST_LETTERS - 1, gate_sides.MOST_LETTERS, gate_sides.MOST_LETTERS + 1]
)
def test_a_long_value_is_cut(count: int) -> None:
    found, _ = gate_sides._short("x" * count, "y")
    assert len(found) == min(count, gate_sides.MOST_LETTERS)
    assert found.endswith("…") is (count > gate_sides.MOST_LETTERS)


@pytest.mark.parametrize("after", ["", "z" * 5, "z" * 500])
@pytest.mark.parametrize("before", [0, 10, 79, 80, 500])
def test_long_values_are_shown_where_they_differ(before: int, after: str) -> None:
    """A step of an edge model stands at the end of a long list: its own key must be seen."""
    found = gate_sides._short(*("y" * before + own + after for own in ("layers: 2", "layers: 1")))
    assert max(map(len, found)) <= gate_sides.MOST_LETTERS
    assert [value[value.index("layers") :][:9] for value in found] == ["layers: 2", "layers: 1"]
    assert all(value.startswith("…") for value in found if before > gate_sides.MOST_LETTERS)


def test_a_value_that_only_one_side_has_is_shown_from_its_beginning() -> None:
    assert gate_sides._short("(none)", "x" * 500) == ("(none)", "x" * (gate_sides.MOST_LETTERS - 1) + "…")
    assert gate_sides._short("x" * 500, "x" * 501)[1].endswith("x")


@pytest.mark.parametrize("more", [-1, 0, 1, 5])
def test_many_names_are_counted(more: int) -> None:
    names = [f"n{number}" for number in range(gate_sides.MOST_NAMES + more)]
    found = gate_sides.few(names)
    assert found.startswith("n0, n1, ")
    assert (f" and {more} more" in found) is (more > 0)
    assert found.count(",") == min(len(names), gate_sides.MOST_NAMES) - 1


@pytest.mark.parametrize(
    ("cut", "reach", "said"),
    [
        (3.0, 1.5, [("activations", "3 of 90 at the end of int8, the furthest at 1.50 of it")]),
        (None, 1.5, []),
        (3.0, None, []),
        (None, None, []),
    ],
)
def test_saturation_needs_both_figures(cut: float | None, reach: float | None, said: list[Any]) -> None:
    figures = {
        numerics.SATURATED.key: numerics.SATURATED.scalar(cut, n=90, format="int8"),
        numerics.FURTHEST.key: numerics.FURTHEST.scalar(reach),
    }
    row: Any = SimpleNamespace(figure=lambda metric: figures.get(metric.key), flags=())
    assert list(_numbers(row)) == said
