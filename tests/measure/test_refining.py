"""A budget is spent on the widest intervals, and never longer than it lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import BenchError, IntegrityError, InterruptedRun, Outcome, VariantFailed
from bench.measure import refining
from bench.measure.refining import MOST_PAIRS, Budget, refine

WANTED = 0.0201
HANGS = VariantFailed(Outcome.TIMEOUT, "it hangs")


@dataclass
class Row:
    """A row whose interval is ``wide`` with one pair, and narrower by the root of their number."""

    name: str
    wide: float
    log: list[str]
    seconds: float = 10.0
    breaks_at: int = 0
    failure: Exception = HANGS
    void: bool = False
    units: list[Any] = field(default_factory=lambda: [SimpleNamespace(void=None)])

    def __post_init__(self) -> None:
        settings = SimpleNamespace(max_half_width=WANTED, processes=1)
        self.context = SimpleNamespace(measure=settings, tell=lambda event: self.log.append(event.text))
        self.row = SimpleNamespace(title=self.name)

    def valid(self) -> list[Any]:
        return [unit for unit in self.units if not unit.void]

    def ratio(self, units: list[Any]) -> Any:
        half = self.wide / len(units) ** 0.5
        return SimpleNamespace(low=1 - half, high=1 + half, value=1.0)

    def further(self) -> None:
        CLOCK[0] += self.seconds
        self.log.append(self.name)
        if len(self.units) == self.breaks_at:
            raise self.failure
        self.units.append(SimpleNamespace(void="others" if self.void else None))


CLOCK = [0.0]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    CLOCK[0] = 0.0
    monkeypatch.setattr(refining, "monotonic", lambda: CLOCK[0])


def spent(rows: list[Row], seconds: float) -> None:
    refine(rows, Budget(seconds))  # type: ignore[arg-type]


def test_the_widest_interval_gets_the_next_pair() -> None:
    log: list[str] = []
    spent([Row("narrow", 0.03, log), Row("wide", 0.04, log), Row("done", 0.01, log)], 1e6)
    assert log == ["wide", "narrow", "wide", "wide", "narrow"]  # 0.04, 0.03, 0.0283, 0.0231, 0.0212


def test_a_pair_that_would_end_too_late_is_not_begun() -> None:
    log: list[str] = []
    spent([Row("a", 0.5, log)], 35.0)
    assert log == ["a"] * 3
    assert CLOCK[0] <= 35.0


def test_nothing_is_spent_when_nothing_is_left() -> None:
    log: list[str] = []
    spent([Row("a", 0.5, log)], -1.0)
    assert log == []


@pytest.mark.parametrize(
    ("failure", "said"), [(HANGS, "timeout: it hangs"), (BenchError("no log"), "no log")]
)
def test_a_row_that_fails_keeps_what_it_has_and_the_others_go_on(failure: Exception, said: str) -> None:
    log: list[str] = []
    rows = [Row("breaks", 0.5, log, breaks_at=2, failure=failure), Row("other", 0.03, log)]
    spent(rows, 1e6)
    assert log == ["breaks", "breaks", f"breaks: no more pairs ({said})", "other", "other"]
    assert len(rows[0].units) == 2


@pytest.mark.parametrize("failure", [InterruptedRun("Ctrl-C"), IntegrityError("other weights")])
def test_what_ends_a_run_ends_its_budget_too(failure: Exception) -> None:
    with pytest.raises(type(failure)):
        spent([Row("stopped", 0.5, [], breaks_at=2, failure=failure)], 1e6)


def test_a_row_is_not_measured_for_ever() -> None:
    log: list[str] = []
    spent([Row("hopeless", 1e6, log)], 1e9)
    assert len(log) == MOST_PAIRS - 1
    busy: list[str] = []
    spent([Row("busy", 0.5, busy, void=True)], 1e9)
    assert len(busy) == 2
