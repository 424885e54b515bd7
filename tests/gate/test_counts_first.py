"""A cost that counts decide before any time does: both sides of every bound, and when counts are no proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, run_record, unit

from bench.gate.counted import counters_hold, is_exact, more_counts, more_work, only_code_differs
from bench.gate.figures import judge_interval
from bench.gate.limits import Rule
from bench.metrics import cost
from bench.records import Counted, RunRecord, Sides
from bench.stats.intervals import Interval

COUNTS = Counted(requests=1, input_tokens=30, output_tokens=100, forward_calls=100, flops=9, kv_cache_bytes=8)
THREE = Rule(cost.PER_1K.key, "max_increase", 0.03)
TOKENS = Rule("output_tokens_per_request", "max_increase", 0.03)


def run_of(
    counts: dict[str, int | None] | None = None,
    mode: str = "code",
    head: Any = (),
    turns: int = 2,
    units: int = 3,
) -> RunRecord:
    mine = replace(COUNTS, **(counts or {}))  # type: ignore[arg-type]
    measured = [
        unit([[5] * turns], [[5] * turns], number=number, counters=Sides(COUNTS, mine))
        for number in range(1, units + 1)
    ]
    run = run_record(arm_record(counters=COUNTS), arm_record("v", counters=mine), units=measured)
    return replace(run, gate={"mode": mode, **dict(head)})


def verdict(run: RunRecord, rule: Rule = THREE) -> str | None:
    found = more_work(run, rule, *run.arms)
    return None if found is None else str(found.verdict)


@pytest.mark.parametrize("key", ["output_tokens", "forward_calls"])
@pytest.mark.parametrize(
    ("count", "said"),
    [
        (103, None),
        (104, "FAIL"),
        (100, None),
        (71, None),
        (69, "SUSPECT"),
        (1, "SUSPECT"),
        (None, None),
        (0, None),
    ],
)
def test_both_sides_of_a_limit_and_of_what_is_improbable(
    key: str, count: int | None, said: str | None
) -> None:
    assert verdict(run_of({key: count})) == said


def test_what_is_said_of_a_count() -> None:
    run = run_of({"forward_calls": 150, "output_tokens": 120})
    found = more_work(run, THREE, *run.arms)
    assert found is not None
    assert found.reason == "forward_calls is 1.5 times the baseline's: counted, not timed"
    assert (found.value, found.low, found.high, found.confidence) == pytest.approx((1.5, 1.5, 1.5, 1.0))
    fewer = run_of({"forward_calls": 20, "output_tokens": 50})
    suspect = more_work(fewer, THREE, *fewer.arms)
    assert suspect is not None
    assert suspect.reason == "forward_calls fell to 0.2 of the baseline's: is the same work still done?"
    assert suspect.value == pytest.approx(0.2)


def test_growth_comes_before_a_fall() -> None:
    assert verdict(run_of({"forward_calls": 200, "output_tokens": 10})) == "FAIL"


@pytest.mark.parametrize(
    ("mode", "metric", "said"),
    [("code", cost.PER_1K.key, "FAIL"), ("code", cost.PER_REQUEST.key, "FAIL"), ("code", "e2el_ms", None),
     ("config", cost.PER_1K.key, None), ("commits", cost.PER_1K.key, "FAIL")],
)  # fmt: skip
def test_only_a_cost_of_one_config_is_counted(mode: str, metric: str, said: str | None) -> None:
    assert verdict(run_of({"forward_calls": 200}, mode), replace(THREE, metric=metric)) == said


def test_what_code_differs_of_means() -> None:
    base, variant = run_of().arms
    for mode, only_code in (("code", True), ("config", False), ("run", False)):
        assert only_code_differs(run_of(mode=mode), base, variant) is only_code
    assert only_code_differs(run_of(mode="commits"), base, variant)
    assert not only_code_differs(run_of(mode="commits"), base, replace(variant, optimise=("x",)))


def test_counts_that_varied_prove_nothing() -> None:
    run = run_of({"forward_calls": 200})
    first, *others = run.units
    varied = replace(run, units=(replace(first, counters=Sides(COUNTS, COUNTS)), *others))
    assert (counters_hold(run, run.arms[1]), counters_hold(varied, run.arms[1])) == (True, False)
    assert (verdict(run), verdict(varied)) == ("FAIL", None)
    assert not is_exact(varied, TOKENS, run.arms[1])


@pytest.mark.parametrize(("said", "holds"), [({"counters_constant": False}, False), ({"units": 9}, True)])
def test_a_calibration_decides_whether_counts_hold(said: dict[str, object], holds: bool) -> None:
    run = run_of(head={"calibration": said})
    assert counters_hold(run, run.arms[1]) is holds


@pytest.mark.parametrize(
    ("turns", "units", "exact", "more"),
    [(1, 2, False, True), (1, 3, True, False), (2, 1, True, False), (1, 0, True, False)],
)
def test_three_units_must_agree_on_a_count_of_whole_answers(
    turns: int, units: int, exact: bool, more: bool
) -> None:
    run = run_of(turns=turns, units=units)
    assert is_exact(run, TOKENS, run.arms[1]) is exact
    assert more_counts(run, [THREE, TOKENS], run.arms[1]) is more
    assert not more_counts(run, [THREE], run.arms[1])  # no rule is about a count
    calibrated = run_of(turns=turns, units=units, head={"calibration": {"units": 9}})
    assert is_exact(calibrated, TOKENS, run.arms[1])


def test_a_count_of_whole_answers_decides_no_cost() -> None:
    assert verdict(run_of({"forward_calls": 200}, turns=1)) is None


@pytest.mark.parametrize("share", [0.001, 0.03, 0.07, 0.113, 0.29, 0.997])
def test_a_count_exactly_at_its_limit_is_within_it(share: float) -> None:
    """The logarithm of 103/100 rounds to more than that of 1.03, and one in four such counts failed."""
    for base in range(1000, 100_001, 1000):
        for count, passes in ((round(base * (1 + share)), True), (round(base * (1 + share)) + 1, False)):
            sides = [replace(COUNTS, forward_calls=calls, output_tokens=100) for calls in (base, count)]
            run = run_record(arm_record(counters=sides[0]), arm_record("v", counters=sides[1]))
            run = replace(run, gate={"mode": "code"})
            limit = Rule(cost.PER_1K.key, "max_increase", share)
            assert (more_work(run, limit, *run.arms) is None) is passes
            ratio = Interval(count / base, None, None)
            rule = replace(TOKENS, bound=share)
            assert (judge_interval(rule, ("", "v"), ratio).verdict == "PASS") is passes
            lower = Interval(round(base * (1 - share)) / base, None, None)
            fewer = replace(TOKENS, limit="max_decrease", bound=share)
            assert judge_interval(fewer, ("", "v"), lower).verdict == "PASS"
