"""A cascade in a gate: it is judged by its two prices, and by how many requests it sends on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_record, loaded, run_record, unit
from rich_runs import head, mixed, write

from bench.gate.findings import GateBlock
from bench.gate.judge import judge, undecided
from bench.metrics import all_metrics, cascade, cost
from bench.metrics.unit_ratios import log_ratios
from bench.pricing.reprice import price_block
from bench.records import ArmRecord, Cascaded, Counted, RunRecord, Sides, UnitRecord
from bench.results.stored_gate import against_run, judge_run
from bench.results.summary import load_run
from bench.stats.figure import Figures
from bench.stats.intervals import Interval
from bench.stats.proportions import paired_difference, wilson

MS = 1_000_000
TERMS = {
    "rule": "margin", "threshold": 0.5, "sure": "above", "same_tokens": True, "edge": "small",
    "edge_usd_per_hour": 0.036, "egress_usd_per_gb": 1000.0,
}  # fmt: skip
# The machine costs 0.18 dollars an hour for the two of its four processors that are used.
EDGE_USD_PER_S, CLOUD_USD_PER_S, USD_PER_BYTE = 1e-5, 5e-5, 1e-6
STAYED = Cascaded(0.9, escalated=False, edge_s=0.2)
WENT = Cascaded(0.1, True, 0.2, cloud_s=0.6, link_s=0.05, sent_bytes=100, received_bytes=50)
DOLLARS = {"cost_per_request_usd": {"max_increase": "3%"}}
TIME = {"e2el_ms": {"max_increase": "3%"}}
RATE = {"escalation_rate": {"max_increase": "0%"}}


def usd(went: int, of: int = 4) -> float:
    return of * 0.2 * EDGE_USD_PER_S + went * (0.6 * CLOUD_USD_PER_S + 50 * USD_PER_BYTE)


def requests(went: int, of: int = 4) -> tuple[Cascaded, ...]:
    return (WENT,) * went + (STAYED,) * (of - went)


def routed(name: str = "v", **fields: Any) -> ArmRecord:
    steps = ({"step": "cascade: margin", "checks": [], "cascade": TERMS},)
    return arm_record(name, loaded=replace(loaded(), evidence=steps), **fields)


def one_unit(number: int, base_ms: float, variant_ms: float, **fields: Any) -> UnitRecord:
    """Four requests, each answered in one turn."""
    times = ([[round(ms * MS)]] * 4 for ms in (base_ms, variant_ms))
    return unit(*times, number=number, **fields)


def gated(
    base: ArmRecord, variant: ArmRecord, limits: Any, mode: str = "commits", units: int = 10, **fields: Any
) -> RunRecord:
    times = fields.pop("times", (800, 800))
    found = tuple(one_unit(n + 1, *times, **fields) for n in range(units))
    about = {"mode": mode, "limits": limits, "test": {"cap": 40}}
    return replace(run_record(base, variant, units=found), gate=about)


def judged(run: RunRecord, base: Figures | None = None, variant: Figures | None = None) -> GateBlock:
    found = judge(run, {("", "baseline"): base or {}, ("", "v"): variant or {}})
    assert found is not None
    return found


def rate(went: int, of: int = 40) -> Figures:
    return {cascade.RATE.key: cascade.RATE.scalar(wilson(went, of))}


@pytest.mark.parametrize("mode", ["code", "commits"])
@pytest.mark.parametrize(("went", "verdict"), [(1, "PASS"), (2, "FAIL"), (0, "SUSPECT")])
def test_more_requests_sent_on_fail_by_dollars_though_the_time_is_equal(
    mode: str, went: int, verdict: str
) -> None:
    """With the same config, a fifth of the dollars is more likely a rule that no longer works."""
    work = {"baseline_cascaded": requests(1), "cascaded": requests(went)}
    run = gated(routed("baseline"), routed(), DOLLARS | TIME, mode, **work)
    dollars, time = judged(run).rules
    assert (dollars.verdict, time.verdict) == (verdict, "PASS")
    assert dollars.value == pytest.approx(usd(went) / usd(1))
    assert time.value == 1
    assert undecided(run) == set()


def test_a_cascade_that_is_slower_and_cheaper_than_the_large_model_passes() -> None:
    """The baseline has twelve turns of 50 ms a request: 0.6 s of the machine, and no second price."""
    times = [[50 * MS] * 12] * 4, [[900 * MS]] * 4
    units = [unit(*times, number=n + 1, cascaded=requests(1), requests=Sides(4, 4)) for n in range(10)]
    run = gated(arm_record(), routed(), DOLLARS | TIME, "config")
    dollars, time = judged(replace(run, units=tuple(units))).rules
    assert dollars.value == pytest.approx(usd(1) / (4 * 0.6 * CLOUD_USD_PER_S))
    assert (dollars.verdict, time.verdict) == ("PASS", "FAIL")
    assert time.value == pytest.approx(0.9 / 0.6)


def test_a_cost_per_token_counts_tokens_and_a_unit_without_work_is_no_pass() -> None:
    base = routed("baseline", counters=Counted(1, 10, 10, None, None, None))
    variant = routed(counters=Counted(2, 20, 60, None, None, None))
    one = one_unit(1, 800, 800, baseline_cascaded=requests(1), cascaded=requests(1))
    run = run_record(base, variant, units=(one,))

    def found(*units: UnitRecord, of: RunRecord = run) -> list[float | None]:
        return log_ratios(of, base, variant, units, cost.PER_1K.key)

    assert found(one) == [pytest.approx(math.log(20 / 40))]
    own = replace(one, tokens=Sides(100, 125))
    assert found(own, of=replace(run, units=(own,))) == [pytest.approx(math.log(100 / 125))]
    assert found(replace(one, cascaded=())) == [None]
    broken = gated(routed("baseline"), routed(), DOLLARS, baseline_cascaded=requests(1))
    assert [(rule.verdict, rule.reason) for rule in judged(broken).rules] == [
        ("ERROR", "a unit did not measure it")
    ]


def test_each_commit_pays_its_own_prices() -> None:
    """The edge's price is in the terms of its side, the cloud's in the price of its config."""
    dear = routed()
    assert dear.loaded is not None
    terms = {**TERMS, "edge_usd_per_hour": 0.072}
    dear = replace(
        dear, loaded=replace(dear.loaded, evidence=({"step": "c", "checks": [], "cascade": terms},))
    )
    work = {"baseline_cascaded": requests(0), "cascaded": requests(0)}
    (rule,) = judged(gated(routed("baseline"), dear, DOLLARS, **work)).rules
    assert (rule.verdict, rule.value) == ("FAIL", pytest.approx(2))
    ours, theirs = (price_block(None, usd_an_hour, 1.0, "2026-01-01") for usd_an_hour in (3.6, 1.8))
    one = one_unit(1, 800, 800, baseline_cascaded=(WENT,), cascaded=(WENT,))
    base, variant = routed("baseline"), routed()
    run = replace(run_record(base, variant), price=ours, gate={"base_price": theirs})
    each = [0.2 * EDGE_USD_PER_S + 0.6 * second + 50 * USD_PER_BYTE for second in (1e-3, 5e-4)]
    found = log_ratios(run, base, variant, [one], cost.PER_REQUEST.key)
    assert found == [pytest.approx(math.log(each[0] / each[1]))]


@pytest.mark.parametrize(
    ("limit", "before", "after", "verdict"),
    [
        (RATE, 10, 10, "PASS"),
        (RATE, 10, 9, "PASS"),
        (RATE, 10, 11, "FAIL"),
        ({"escalation_rate": {"max_increase": "10%"}}, 10, 11, "PASS"),
        (RATE, 0, 0, "PASS"),
        (RATE, 0, 1, "ERROR"),
        ({"escalation_rate": {"max": 0.6}}, 0, 10, "PASS"),
        ({"escalation_rate": {"max": 0.3}}, 0, 10, "INCONCLUSIVE"),
        ({"escalation_rate": {"max": 0.3}}, 10, 30, "FAIL"),
        ({"escalation_rate": {"min": 0.6}}, 10, 30, "INCONCLUSIVE"),
    ],
)
def test_the_share_sent_on_is_counted_beside_a_base_and_has_an_interval_alone(
    limit: Any, before: int, after: int, verdict: str
) -> None:
    """Both sides had the same requests, so one request more is a change; what other requests would do is
    what Wilson's interval says."""
    (rule,) = judged(gated(routed("baseline"), routed(), limit), rate(before), rate(after)).rules
    assert rule.verdict == verdict


def test_a_base_of_none_says_what_to_limit_instead() -> None:
    (rule,) = judged(gated(routed("baseline"), routed(), RATE), rate(0), rate(3)).rules
    assert "the baseline's figure is 0" in rule.reason


def test_quality_between_base_and_candidate() -> None:
    limits = {"factuality_accuracy": {"max_decrease": "10%"}}
    metric = all_metrics()["factuality_accuracy"]

    def accuracy(value: float) -> Figures:
        return {metric.key: metric.scalar(Interval(value, value - 0.01, value + 0.01))}

    run = gated(routed("baseline"), routed(), limits)
    for after, verdict in ((0.7, "PASS"), (0.5, "FAIL"), (0.63, "INCONCLUSIVE")):
        (rule,) = judged(run, accuracy(0.7), accuracy(after)).rules
        assert rule.verdict == verdict


@pytest.mark.parametrize(
    ("right", "lost", "gained", "decrease", "verdict"),
    [
        (60, 0, 0, "5%", "PASS"), (60, 0, 0, "2%", "INCONCLUSIVE"), (60, 20, 0, "5%", "FAIL"),
        (60, 3, 2, "20%", "PASS"),
    ],
)  # fmt: skip
def test_the_accuracy_of_the_same_items_is_judged_in_pairs(
    right: int, lost: int, gained: int, decrease: str, verdict: str
) -> None:
    """Two intervals of 60 of 100 apart from each other would say 0.80 to 1.26 of the very same answers."""
    metrics, n = all_metrics(), 100
    after = right - lost + gained
    change = paired_difference(right - lost, lost, gained, n - right - gained)
    before = {"factuality_accuracy": metrics["factuality_accuracy"].scalar(wilson(right, n))}
    found = {
        "factuality_accuracy": metrics["factuality_accuracy"].scalar(wilson(after, n)),
        "factuality_change": metrics["factuality_change"].scalar(change),
    }
    run = gated(routed("baseline"), routed(), {"factuality_accuracy": {"max_decrease": decrease}})
    (rule,) = judged(run, before, found).rules
    assert rule.verdict == verdict
    assert rule.value == pytest.approx(after / right)
    assert rule.low is not None
    assert change.low is not None
    assert rule.low == pytest.approx(1 + change.low / (right / n))


def test_what_only_a_cascade_has_limits_the_cascades_among_the_rows() -> None:
    limits = {"escalation_rate": {"max": 0.6}}
    plain = judged(gated(arm_record(), arm_record("v"), limits | DOLLARS, "config"))
    assert [rule.rule.split()[0] for rule in plain.rules] == ["cost_per_request_usd"]
    gone = judged(gated(routed("baseline"), arm_record("v"), limits), rate(10))
    assert [rule.verdict for rule in gone.rules] == ["ERROR"]
    failed = judged(gated(arm_record(), arm_record("v", status="timeout"), limits, "config"))
    assert [rule.verdict for rule in failed.rules] == ["ERROR"]


@pytest.mark.parametrize(
    ("key", "label"), [("split_step_ms", "split layers"), ("acceptance_rate", "speculate draft")]
)
def test_what_only_a_split_or_a_draft_has_limits_no_other_row(key: str, label: str) -> None:
    """A row of that kind without the figure is not passed over."""
    limits: Any = {key: {"max": 5.0}} | DOLLARS
    rows = [arm_record("v", optimise=steps) for steps in ((), (label,))]
    plain, own = (judged(gated(arm_record(), row, limits, "config")) for row in rows)
    assert [rule.rule.split()[0] for rule in plain.rules] == ["cost_per_request_usd"]
    assert [rule.rule.split()[0] for rule in own.rules] == [key, "cost_per_request_usd"]
    assert own.rules[0].verdict == "ERROR"


def test_a_finished_run_is_judged_too(tmp_path: Path) -> None:
    """Three of its six requests went on."""
    limits = {"escalation_rate": {"max": 0.95}, "cost_per_request_usd": {"max_increase": "900%"}}
    records = [head(spec={"gate": limits}), *mixed()[1:]]
    run = load_run(write(tmp_path / "run", records))
    found = judge_run(run).gate
    assert found is not None
    of_rate = [rule for rule in found.rules if rule.rule.startswith("escalation_rate")]
    assert [(rule.variant, rule.verdict, rule.value) for rule in of_rate] == [("cascade", "PASS", 0.5)]
    again = against_run(run, run).gate
    assert again is not None
    assert [rule.variant for rule in again.rules if rule.rule.startswith("escalation_rate")] == ["cascade"]
    gone = [
        replace(row, evidence=None, metrics={**row.metrics, cascade.RATE.key: None})
        if row.name == "cascade"
        else row
        for row in run.rows
    ]
    without = against_run(replace(run, rows=tuple(gone)), run).gate
    assert without is not None
    assert [
        (rule.variant, rule.verdict) for rule in without.rules if rule.rule.startswith("escalation_rate")
    ] == [("cascade", "ERROR")]
