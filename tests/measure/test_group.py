"""The rows of a group get their pairs one at a time, whoever fails meanwhile, and in the attempt after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from desk import FACTS, Desk

from bench.errors import BenchError, InterruptedRun, Outcome, VariantFailed
from bench.measure import group as measured_group
from bench.measure.designs import ABBA, STEPS
from bench.measure.events import Ended
from bench.measure.group import GroupRun
from bench.measure.pairs import Finished, Pairs
from bench.measure.together import BaselineDied
from bench.records import UnitRecord
from bench.stats.pairs import PairRatio

Patch = pytest.MonkeyPatch
BASELINE = {"baseline": Finished(FACTS)}


def unit(name: str, number: int, design: str = STEPS) -> UnitRecord:
    times = ((100, 100),)
    return UnitRecord(number, "", name, (0,), 0, times, times, design=design)


class Plan:
    """A group whose rows need as many pairs as ``wants`` says; ``fails`` has what a pair raises."""

    def __init__(
        self,
        patch: Patch,
        wants: Mapping[str, int],
        fails: Mapping[str, Exception] | None = None,
        done: Mapping[str, Finished] = BASELINE,
    ) -> None:
        self.log: list[str] = []
        desk, plan = Desk(patch), self

        class Row(Pairs):
            def __init__(self, group: Any, row: Any, fetch: Any) -> None:
                super().__init__(group, row)
                self.name = row.arm.name

            def first(self) -> None:
                self.further()

            def further(self) -> None:
                label = f"{self.name}{len(self.units) + 1}"
                plan.log.append(label)
                if failure := (fails or {}).get(label):
                    raise failure
                self.keep(unit(self.name, len(self.units) + 1))

            def enough(self) -> bool:
                return len(self.units) >= wants[self.name]

            def ratio(self, units: list[UnitRecord]) -> PairRatio:
                raise AssertionError("nobody asks for the ratio")

        patch.setattr(measured_group, "VariantRun", Row)
        patch.setattr(measured_group, "open_worker", desk.open_worker)
        variants = tuple(replace(desk.group.variants[0], name=name) for name in wants)
        self.rows = GroupRun(replace(desk.group, variants=variants), desk.context, desk.fetch, done)
        self.desk = desk

    def run(self) -> Plan:
        self.rows.run()
        return self

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(event.who, event.outcome) for event in self.desk.told if isinstance(event, Ended)]

    @property
    def measured(self) -> list[str]:
        return [pairs.row.arm.name for pairs in self.rows.measured]

    def status(self, name: str) -> list[str]:
        return self.desk.notes.of(name, "status")


def test_each_row_gets_its_next_pair_when_all_have_had_theirs(monkeypatch: Patch) -> None:
    plan = Plan(monkeypatch, {"a": 1, "b": 3, "c": 2}).run()
    assert plan.log == ["a1", "b1", "c1", "b2", "c2", "b3"]
    assert plan.ends == [("baseline", "ok"), ("a", "ok"), ("c", "ok"), ("b", "ok")]
    assert plan.measured == ["a", "b", "c"]
    assert plan.status("b") == ["ok"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (VariantFailed(Outcome.UNFIT, "too busy"), "unfit"),
        (BaselineDied(VariantFailed(Outcome.OOM_HOST, "killed")), "baseline_failed"),
        (BenchError("a file has gone"), "load_error"),
    ],
)
def test_a_row_that_fails_in_a_further_pair_has_failed(
    monkeypatch: Patch, failure: Exception, status: str
) -> None:
    plan = Plan(monkeypatch, {"a": 3, "b": 3}, {"a2": failure}).run()
    assert plan.log == ["a1", "b1", "a2", "b2", "b3"]
    assert plan.status("a") == ["ok", status]
    assert plan.ends[1:] == [("a", status), ("b", "ok")]
    assert plan.measured == ["b"], "a budget is spent on others"


def test_a_row_that_fails_at_first_gets_no_further_pair(monkeypatch: Patch) -> None:
    plan = Plan(monkeypatch, {"a": 3, "b": 2}, {"a1": VariantFailed(Outcome.LOAD_ERROR, "no")}).run()
    assert plan.log == ["a1", "b1", "b2"]
    assert plan.ends[1:] == [("a", "load_error"), ("b", "ok")]


def test_who_is_interrupted_keeps_the_pairs_of_every_row(monkeypatch: Patch) -> None:
    plan = Plan(monkeypatch, {"a": 3, "b": 3}, {"b2": InterruptedRun("Ctrl-C")})
    with pytest.raises(InterruptedRun):
        plan.run()
    assert plan.status("a") == plan.status("b") == ["ok"]
    assert [record["variant"] for record in plan.desk.notes.units] == ["a", "b", "a"]


def test_a_run_that_is_continued_goes_on_with_the_pairs_that_are_there(monkeypatch: Patch) -> None:
    done = {
        **BASELINE,
        "a": Finished(FACTS, [unit("a", 1), unit("a", 2)]),
        "b": Finished(FACTS, [unit("b", 1)]),
        "without": Finished(FACTS),
        "not here": Finished(outcome=Outcome.UNSUPPORTED, reason="no GPU"),
    }
    plan = Plan(monkeypatch, {"a": 2, "without": 9, "not here": 9, "b": 2, "c": 2}, done=done).run()
    assert plan.log == ["c1", "b2", "c2"]
    ok = [(name, "ok") for name in ("baseline", "without", "a", "b", "c")]
    assert plan.ends == [*ok[:2], ("not here", "unsupported"), *ok[2:]]
    assert plan.status("b") == [], "it had ended before"


def test_a_baseline_that_could_not_be_measured_is_not_tried_again_beside_its_variants(
    monkeypatch: Patch,
) -> None:
    done = {"baseline": Finished(outcome=Outcome.UNSUPPORTED, reason="no GPU")}
    plan = Plan(monkeypatch, {"a": 2}, done=done).run()
    assert plan.log == []
    assert plan.ends == [("baseline", "unsupported"), ("a", "baseline_failed")]
    said = "a was not measured: the baseline has failed (unsupported: no GPU)"
    assert plan.desk.notes.of("a", "reason") == [said]


@pytest.mark.parametrize(("design", "apart"), [(STEPS, False), (ABBA, True)])
def test_pairs_are_continued_in_their_design(monkeypatch: Patch, design: str, apart: bool) -> None:
    """A GPU that was too small for both was too small for both: it is not tried again."""
    desk = Desk(monkeypatch, max_half_width=0.9, processes=2)
    monkeypatch.setattr(measured_group, "open_worker", desk.open_worker)
    done = {**BASELINE, "v": Finished(FACTS, [unit("v", 1, design)])}
    GroupRun(desk.group, desk.context, desk.fetch, done).run()
    assert [record["design"] for record in desk.notes.units] == [design]
    assert desk.asked("variant", 1)[-1] == ("alone" if apart else "duet")
