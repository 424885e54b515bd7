"""A cascade in a plan: both places with their prices, by hand and beside a plain simulation of its queues."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from fakes import arm_record, loaded, run_record, timed_batch, unit

from bench.cli.plan_pages import plan_json, plan_page
from bench.metrics import cascade, cost
from bench.plan import cascade_fleet
from bench.plan.cascade_fleet import cascade_at, cascade_pays_from, load_of, planned_cascade, times
from bench.plan.cascades import CascadeOption, Place, cascades_of
from bench.plan.fleet import Latency, Slo, Stream
from bench.plan.plan_result import Answer, Plan
from bench.pricing.book import price_called
from bench.records import ArmRecord, Cascaded
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summary import summarise
from bench.stats.intervals import Interval

DAY = Stream(1e6, 5, 9)
MONTH = 1e6 * 730 / 24
OPTION = CascadeOption(
    title="cascade",
    edge=Place(0.2, 0.012, busy_hour_usd=0.006),
    cloud=Place(0.6, 0.36, share=0.5, rented=True),
    escalated=Interval(0.5, 0.4, 0.6),
    link_s=0.05,
    egress_usd=4.5e-6,
    drift="not measured",
)
TERMS = {
    "rule": "margin", "threshold": 0.5, "sure": "above", "same_tokens": True, "edge": "small",
    "edge_usd_per_hour": 0.018, "edge_power_usd_per_hour": 0.006, "egress_usd_per_gb": 90.0,
}  # fmt: skip
STAYED = Cascaded(0.9, escalated=False, edge_s=0.2)
WENT = Cascaded(0.1, True, 0.2, cloud_s=0.6, link_s=0.05, sent_bytes=100, received_bytes=50)
BASE = arm_record(solo=(timed_batch(0, [100 * k for k in range(1, 10)], 1000, [5], [range(9)]),))


def run_of(*requests: Cascaded, units: Any = (), **fields: Any) -> RunSummary:
    """A run of a baseline, and of a cascade with these requests."""
    took_ms = [1e3 * (one.edge_s + one.cloud_s + one.link_s) for one in requests]
    batches = tuple(
        timed_batch(9e3 * k, [9e3 * k + ms], 9e3 * k + ms, [5], [range(9)]) for k, ms in enumerate(took_ms)
    )
    steps = replace(loaded(), evidence=({"step": "cascade: margin", "checks": [], "cascade": TERMS},))
    arm: ArmRecord = arm_record(
        "v", loaded=steps, solo=batches, cascaded=requests, prompts_digest="others", **fields
    )
    return summarise(run_record(BASE, arm, units=units))


def row_of(run: RunSummary) -> Row:
    return run.rows[1]


def found(run: RunSummary, slo: Slo | None = None) -> tuple[Any, Any]:
    return cascades_of(run, run.rows[0].workload, slo or Slo())


def test_both_places_are_what_the_row_measured() -> None:
    """Two of the four processors of a machine at 0.36 USD an hour, and an edge device with 0.006 of power."""
    (option,), why = found(run_of(STAYED, WENT))
    assert why == ()
    assert option.edge == Place(pytest.approx(0.2), pytest.approx(0.012), busy_hour_usd=pytest.approx(0.006))
    assert option.cloud == Place(pytest.approx(0.6), 0.36, share=0.5, rented=True)
    assert (option.escalated.value, option.link_s) == (0.5, pytest.approx(0.05))
    assert option.egress_usd == pytest.approx(50 * 90e-9)
    assert option.slower is None


def test_in_turns_a_request_costs_what_the_table_shows() -> None:
    second = 1_000_000_000
    done = (replace(STAYED, edge_s=0.25), WENT)
    units = [
        unit([[second], [second]], [[second // 4], [took]], number=n, cascaded=done)
        for n, took in ((1, 900_000_000), (2, 930_000_000))
    ]  # fmt: skip
    run = run_of(STAYED, WENT, units=units)
    (option,), _why = found(run)
    ratio = run.comparison(row_of(run), cost.PER_REQUEST)
    assert ratio is not None
    edge, cloud = option.edge, option.cloud
    usd = edge.request_s * 0.018 / 3600 + 0.5 * (cloud.request_s * 0.18 / 3600 + option.egress_usd)
    assert usd == pytest.approx(ratio.value)
    assert edge.request_s != pytest.approx(0.2)
    assert cloud.request_s / edge.request_s == pytest.approx(3)


@pytest.mark.parametrize(
    ("requests", "fields", "slo", "words"),
    [
        ((STAYED, STAYED), {}, Slo(), "none of its 2 requests went on"),
        ((WENT, replace(WENT, offline=True)), {}, Slo(), "the link was down for 1 of its 2"),
        ((STAYED, WENT), {}, Slo(tpot_ms=50), "a further token cannot be judged"),
        ((STAYED, WENT), {"workload": {"input_tokens": 7}}, Slo(), "not those of the plan"),
    ],
)
def test_what_cannot_be_planned_says_why(requests: Any, fields: Any, slo: Slo, words: str) -> None:
    options, (why,) = found(run_of(*requests, **fields), slo)
    assert options == ()
    assert why.startswith("v is a cascade that is not planned: ")
    assert words in why


def test_a_batch_is_not_planned() -> None:
    run = run_of(STAYED, WENT)
    rows = tuple(replace(row, workload={"batch_size": 4}) for row in run.rows)
    _none, (why,) = found(replace(run, rows=rows))
    assert "4 requests at a time" in why


def test_a_run_without_the_seconds_of_a_side() -> None:
    run = run_of(STAYED, WENT)
    row = row_of(run)
    figure = row.figure(cascade.CLOUD)
    assert figure is not None
    old = replace(row, metrics={**row.metrics, cascade.CLOUD.key: replace(figure, notes={})})
    _none, (why,) = found(replace(run, rows=(run.rows[0], old)))
    assert "--hardware" in why


def test_machines_and_dollars_by_hand() -> None:
    """11.57 requests a second; an edge device takes 0.8 / 0.2, a cloud server 0.8 / 0.6 of half of them."""
    row = planned_cascade(OPTION, DAY, Slo())
    assert row.edge is not None
    assert row.cloud is not None
    assert (row.edge.fleet.most, row.cloud.fleet.most) == (3, 3)  # 2.9 devices; 4.3 servers, two on a machine
    edge_usd = 3 * 0.012 * 730 + 0.006 * 0.2 / 3600 * MONTH
    cloud_usd, egress_usd = 3 * 0.36 * 730, 4.5e-6 * MONTH / 2
    assert row.edge.month_usd == pytest.approx(edge_usd)
    assert row.cloud.month_usd == pytest.approx(cloud_usd)
    assert row.egress_usd == pytest.approx(egress_usd)
    assert row.month_usd == pytest.approx(edge_usd + cloud_usd + egress_usd)
    assert row.scaled_usd == pytest.approx(row.month_usd)  # a flat day
    assert row.request_usd(DAY) == pytest.approx((edge_usd + cloud_usd + egress_usd) / MONTH)
    assert cascade_at(row, DAY) == (6, pytest.approx(row.month_usd))


def test_the_bounds_are_those_of_the_share_and_of_the_seconds() -> None:
    row = planned_cascade(replace(OPTION, slower=(0.9, 1.1)), DAY, Slo())
    ends = [
        planned_cascade(
            replace(
                OPTION,
                edge=replace(OPTION.edge, request_s=0.2 * factor),
                cloud=replace(OPTION.cloud, request_s=0.6 * factor),
                escalated=Interval(share, None, None),
            ),
            DAY,
            Slo(),
        ).month_usd
        for share, factor in ((0.4, 0.9), (0.6, 1.1))
    ]
    assert row.month_bounds_usd == pytest.approx(ends)
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] < (row.month_usd or 0) < ends[1]


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_the_times_are_those_of_both_queues_in_a_plain_loop(load: float) -> None:
    """Four edge devices and six cloud servers, requests dealt out at random, all in order."""
    dice, limit_ms, count = random.Random(1), 2000.0, 120_000
    edge_free, cloud_free = [0.0] * 4, [0.0] * 6
    now, onward, took = 0.0, [], []
    for _ in range(count):
        now += dice.expovariate(4 * load / 0.2)
        one = dice.randrange(4)
        edge_free[one] = max(edge_free[one], now) + 0.2
        if dice.random() < 0.5:
            onward.append((edge_free[one] + 0.05, now))
        else:
            took.append(1000 * (edge_free[one] - now))
    for came, sent in sorted(onward):
        one = dice.randrange(6)
        cloud_free[one] = max(cloud_free[one], came) + 0.6
        took.append(1000 * (cloud_free[one] - sent))
    took.sort()
    ours = times(OPTION, load, Slo(limit_ms))
    assert ours.good_share == pytest.approx(sum(ms <= limit_ms for ms in took) / count, abs=0.02)
    assert ours.ttft_p95_ms == pytest.approx(took[int(0.95 * count)], rel=0.12)


@pytest.mark.parametrize("slo", [Slo(2000), Slo(800)])
def test_a_load_is_simulated_once(slo: Slo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that never wait were simulated twice; ten a day wait as little."""
    loads = list[float]()

    def counted(option: CascadeOption, load: float, slo: Slo) -> Latency:
        if option is OPTION:
            loads.append(load)
        return times(option, load, slo)

    monkeypatch.setattr(cascade_fleet, "times", counted)
    row = planned_cascade(OPTION, Stream(10, 5, 9), slo)
    assert len(loads) == len(set(loads))
    assert row.busiest in (row.alone, None)


def test_a_limit_takes_the_largest_load_that_is_good() -> None:
    slo = Slo(2000)
    load = load_of(OPTION, slo)
    assert 0.05 < load < 0.8
    assert times(OPTION, load, slo).good_share >= slo.share > times(OPTION, load + 0.01, slo).good_share
    assert load_of(OPTION, Slo(900)) < load
    row = planned_cascade(OPTION, DAY, slo)
    assert row.busiest is not None
    assert row.busiest.good_share >= slo.share
    assert (row.month_usd or 0) > (planned_cascade(OPTION, DAY, Slo()).month_usd or 0)


def test_a_request_that_goes_on_alone_may_be_too_late() -> None:
    """0.2 + 0.05 + 0.6 s are above a limit of 800 ms, for half of the requests."""
    row = planned_cascade(OPTION, DAY, Slo(800))
    assert (row.load, row.month_usd, row.edge, cascade_at(row, DAY)) == (0, None, None, None)
    assert cascade_pays_from(row, DAY, 1.0) is None
    assert planned_cascade(OPTION, DAY, Slo(800, share=0.45)).month_usd is not None


def test_where_it_costs_what_an_api_bills() -> None:
    row, api_usd = planned_cascade(OPTION, Stream(1e4, 5, 9), Slo()), 80e-6
    volume = cascade_pays_from(row, DAY, api_usd)
    assert volume is not None
    assert planned_cascade(OPTION, Stream(volume, 5, 9), Slo()).request_usd(
        Stream(volume, 5, 9)
    ) == pytest.approx(api_usd)
    assert cascade_pays_from(row, DAY, 1e-6) is None


def answer() -> Answer:
    slow = replace(OPTION, title="slow", cloud=replace(OPTION.cloud, request_s=9.0))
    plan = Plan("a run", ("a price",), DAY, Slo(3000), (), (), ("a note",), (OPTION, slow))
    return plan.reserving(replace(price_called("aws-m6a-xlarge-3y"), usd_per_hour=0.2)).answered(
        ("openai/gpt-5",), 0.0, 1.0, date(2026, 11, 1)
    )


def test_the_page_says_who_is_paid() -> None:
    page = plan_page(answer(), (1e5,))
    row = planned_cascade(replace(OPTION, cloud=replace(OPTION.cloud, reserved_usd=0.2)), DAY, Slo(3000))
    assert row.edge is not None
    assert row.cloud is not None
    (line,) = [line for line in page.splitlines() if line.startswith("cascade  ")][:1]
    assert f"{row.edge.fleet.most} + {row.cloud.fleet.most}" in line
    for words in ("cascade: the edge devices", "cascade: the cloud", "cascade: egress", "50% [40%, 60%]"):
        assert words in page
    assert "reserved)" in page
    assert "no good request: slow" in page
    assert "cascade is cheaper from" in page
    assert "[low, high] are the dollars" in page


def test_the_same_as_data() -> None:
    first, slow = plan_json(answer(), (1e5,))["cascades"]
    parts = [
        first["edge"]["paid"]["month_usd"],
        first["cloud"]["paid"]["month_usd"],
        first["egress_month_usd"],
    ]
    assert first["month_usd"] == pytest.approx(sum(parts))
    assert first["at_volumes"][0]["month_usd"] < first["month_usd"]
    assert (slow["month_usd"], slow["edge"]["paid"], slow["at_volumes"][0]["machines"]) == (None, None, None)
