"""The figures of a cascade, from records made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, loaded, run_record, timed_batch, unit

from bench.drift.suites.factuality import SUITE
from bench.formatting import format_share
from bench.metrics import cascade, cascade_bills, cascade_curve, comparisons, cost
from bench.metrics.ratios import ratios_of
from bench.records import Answered, ArmRecord, BothAnswered, Cascaded, RunRecord, SuiteAnswers
from bench.report.cascade import cascade_words, edge_alone
from bench.report.row_sentence import sentence
from bench.results.summarise import summarise

TERMS = {
    "rule": "log-probability", "threshold": -1.0, "sure": "above", "same_tokens": True, "edge": "small",
    "edge_usd_per_hour": 0.018, "egress_usd_per_gb": 90.0,
}  # fmt: skip
EDGE_S, CLOUD_S = 0.018 / 3600, 0.18 / 3600  # two of the four processors of an instance of 0.36 USD an hour
STAYED = Cascaded(-0.5, escalated=False, edge_s=0.2)
WENT = Cascaded(-2.0, True, 0.2, cloud_s=0.6, link_s=0.05, sent_bytes=100, received_bytes=50)
REFUSED = replace(WENT, cloud_s=0.0, sent_bytes=0, received_bytes=0, offline=True)
BASE = arm_record(
    solo=tuple(timed_batch(0, [20 + 10 * k for k in range(9)], 100, [5], [range(9)]) for _ in range(4))
)


def row(*requests: Cascaded, **fields: Any) -> ArmRecord:
    """A row of these requests, each a batch of its own."""
    batches, now = [], 0.0
    for one in requests:
        end = now + 1e3 * (one.edge_s + one.cloud_s + one.link_s)
        batches.append(timed_batch(now, [end], end, [5], [range(9)]))
        now = end
    steps = replace(
        loaded(), evidence=({"step": "cascade: log-probability", "checks": [], "cascade": TERMS},)
    )
    return arm_record(
        "v", loaded=steps, solo=tuple(batches), cascaded=requests, prompts_digest="others", **fields
    )


def value(found: Any, metric: Any) -> Any:
    return found[metric.key] and found[metric.key].value


def test_requests_are_counted_by_who_answered() -> None:
    arm = row(STAYED, WENT, STAYED, replace(WENT, offline=True))
    run = run_record(BASE, arm)
    found = cascade.figures(arm, run)
    rate = found["escalation_rate"]
    assert rate is not None
    assert (rate.value, rate.notes["offline"]) == (0.5, 1)
    assert rate.ci_low == pytest.approx(0.15, abs=0.01)  # Wilson's, of two in four
    assert value(found, cascade.EDGE) == pytest.approx(0.2 * EDGE_S)
    assert value(found, cascade.CLOUD) == pytest.approx(0.3 * CLOUD_S)
    assert value(found, cascade.EGRESS) == pytest.approx(25 * 90e-9)
    assert value(found, cascade.STAYED) == pytest.approx(200)
    assert value(found, cascade.WENT) == pytest.approx(850)
    assert value(found, cascade.LINK) == pytest.approx(50)
    dollars = cost.figures(arm, run)["cost_per_request_usd"]
    assert dollars is not None
    assert dollars.value == pytest.approx(0.2 * EDGE_S + 0.3 * CLOUD_S + 25 * 90e-9)
    for key, arithmetic in {**cascade.worked(arm, run), **cost.worked(arm, run)}.items():
        figure = {**found, **cost.figures(arm, run)}[key]
        assert figure is not None
        assert eval(arithmetic) == pytest.approx(figure.value, rel=1e-5), key


@pytest.mark.parametrize(
    ("requests", "first"),
    [
        ((STAYED, REFUSED, REFUSED), "no answer came from the large model, and the edge model's stood; "),
        ((STAYED, STAYED), "the edge model answered alone; "),
        ((STAYED, WENT, REFUSED), ""),
    ],
    ids=["all refused", "none went on", "one answered"],
)
def test_dollars_without_the_large_model_are_not_a_saving_first(
    requests: tuple[Cascaded, ...], first: str
) -> None:
    """A cloud that answers 429 to everything costs nothing, and the sentence began with what that saves."""
    run = summarise(run_record(BASE, row(*requests)))
    said = sentence(run, run.rows[1])
    assert said.startswith(first)
    assert edge_alone(run.rows[0]) == ""
    assert bool(first) == said.startswith(("no answer", "the edge model answered"))


def test_the_reasons_of_lost_answers_add_up() -> None:
    """The three most frequent reasons are named, and the rest is counted."""
    lost = [replace(REFUSED, refused=why) for why in ("a", "a", "b", "b", "c", "c", "d")]
    words = cascade_words(summarise(run_record(BASE, row(*lost))).rows[1])
    assert "of 7 no answer came, so the edge's stood: a (2), b (2), c (2), other reasons (1)" in words
    words = cascade_words(summarise(run_record(BASE, row(*lost[:6]))).rows[1])
    assert "c (2)" in words
    assert "other reasons" not in words


def test_a_request_that_found_the_link_down_was_no_work_of_the_large_model() -> None:
    arm = row(STAYED, WENT, replace(WENT, cloud_s=0.0, sent_bytes=0, received_bytes=0, offline=True))
    found = cascade.figures(arm, run_record(BASE, arm))
    rate, cloud = found["escalation_rate"], found["cloud_usd_per_request"]
    assert rate is not None
    assert cloud is not None
    assert (rate.notes["escalated"], rate.notes["offline"], rate.notes["reached"]) == (2, 1, 1)
    assert cloud.notes["seconds"] == pytest.approx(0.6)
    assert cloud.value == pytest.approx(0.2 * CLOUD_S)


def test_a_row_that_is_no_cascade_has_none_of_it() -> None:
    run = run_record(BASE)
    assert set(cascade.figures(BASE, run).values()) == {None}
    assert set(cascade_curve.figures(BASE, run).values()) == {None}
    assert cascade_words(summarise(run).rows[0]) == ""


def test_the_ratio_is_one_of_dollars_in_every_design() -> None:
    arm = row(STAYED, WENT, STAYED, WENT)
    second = 1_000_000_000
    units = [
        unit([[second], [second]], [[second // 5], [850_000_000]], number=n, cascaded=(STAYED, WENT))
        for n in (1, 2)
    ]
    usd = 0.4 * EDGE_S + 0.6 * CLOUD_S + 50 * 90e-9
    in_turns = {one.metric: one for one in comparisons.compare(run_record(BASE, arm, units=units), arm)}
    assert in_turns["cost_per_request_usd"].ratio == pytest.approx(usd / (2 * CLOUD_S))
    assert in_turns["e2el_ms"].ratio == pytest.approx((0.2 + 0.85) / 2)
    assert "tpot_ms" not in in_turns
    apart = {one.metric: one for one in comparisons.compare(run_record(BASE, arm), arm)}
    assert apart["cost_per_1k_tokens_usd"].ratio == pytest.approx(usd / 2 / (0.1 * CLOUD_S))
    by = cascade_bills.rates_of(arm, cost.price_of(arm, run_record(BASE, arm)))
    assert by is not None
    assert cascade_bills.as_cloud_ns(units, by)[0] == pytest.approx(usd / CLOUD_S * second)


def test_two_cascades_beside_each_other_are_both_paid_by_their_two_prices() -> None:
    """As in a gate, where the base is one too: the solo passes of a request that stays and of one that goes
    on."""
    base = replace(row(STAYED, STAYED), name="baseline", is_baseline=True)
    arm = row(WENT, WENT)
    run = replace(run_record(base, arm), gate={"mode": "code"})
    (found,) = (one for one in ratios_of(run, arm) if one.metric is cost.PER_1K)
    usd = 0.2 * EDGE_S + 0.6 * CLOUD_S + 50 * 90e-9
    assert found.interval.value == pytest.approx(usd / (0.2 * EDGE_S))


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ((STAYED, STAYED), "no request went on"),
        ((WENT, WENT), "every request went on"),
        ((STAYED, WENT), "1 of 2 requests went on"),
        ((STAYED, replace(WENT, offline=True)), "the link was down for 1"),
        ((replace(WENT, cloud_s=0.0, offline=True),) * 2, "for 2, so the large model answered nothing"),
        ((WENT, replace(WENT, offline=True)), "to the large model, and the link was down for 1; "),
    ],
)
def test_a_row_says_plainly_what_its_rule_did(requests: tuple[Cascaded, ...], said: str) -> None:
    words = cascade_words(summarise(run_record(BASE, row(*requests))).rows[1])
    assert said in words
    assert "USD to the edge device" in words


@pytest.mark.parametrize("requests", [(STAYED, WENT), (WENT, WENT, replace(WENT, cloud_s=0.0, offline=True))])
def test_a_row_says_up_to_which_share_it_saves_money(requests: tuple[Cascaded, ...]) -> None:
    """1 − e/c, where c is one answer of the large model with its egress, however many requests went on."""
    sent = [replace(one, received_bytes=0) if one.offline else one for one in requests]
    words = cascade_words(summarise(run_record(BASE, row(*sent))).rows[1])
    share = 1 - 0.2 * EDGE_S / (0.6 * CLOUD_S + 50 * 90e-9)
    assert f"it saves money while less than {format_share(share)} of the requests go on" in words


def test_an_edge_that_costs_more_than_the_large_model_never_saves() -> None:
    slow = replace(WENT, edge_s=0.6 * CLOUD_S / EDGE_S * 1.5)
    words = cascade_words(summarise(run_record(BASE, row(slow, slow))).rows[1])
    assert "its edge model alone costs more than the large one" in words


def test_what_other_requests_would_pay_the_cloud_is_not_known_if_none_went_on() -> None:
    arm = row(STAYED, replace(STAYED, edge_s=0.3))
    found = cascade.figures(arm, run_record(BASE, arm))
    for metric in (cascade.CLOUD, cascade.EGRESS):
        figure = found[metric.key]
        assert figure is not None
        assert (figure.value, figure.ci_low, figure.ci_high) == (0, None, None)
    assert "saves money" not in cascade_words(summarise(run_record(BASE, arm)).rows[1])


def asked(n: int, knows: bool, edge: int, cloud: int) -> tuple[RunRecord, ArmRecord]:
    """``n`` items of which the edge has the first ``edge`` right, and the large model the first ``cloud``; a
    rule that knows is the less sure the later the item."""
    items = tuple(
        {"id": f"{k}", "lang": "en", "prompt": "p", "choices": ["a", "b"], "right": 0} for k in range(n)
    )

    def scores(right: int) -> tuple[tuple[float, ...], ...]:
        return tuple((-1.0, -2.0) if k < right else (-2.0, -1.0) for k in range(n))

    requests = tuple(
        replace(WENT, score=-k / n if knows else -((k * 7) % n) / n, escalated=False) for k in range(n)
    )
    both = BothAnswered(requests, Answered(scores=scores(edge)), Answered(scores=scores(cloud)))
    base = replace(BASE, suites={"factuality": SuiteAnswers("d", scores=scores(cloud), items=items)})
    arm = row(STAYED, WENT, suites={"factuality": SuiteAnswers("d", scores=scores(edge), both=both)})
    run = run_record(base, arm)
    return replace(run, spec={"drift": {"suites": ["generation", "factuality"]}}), arm


def test_the_curve_is_that_of_the_items() -> None:
    run, arm = asked(100, True, 60, 90)
    found = cascade_curve.figures(arm, run)
    gap = found["cascade_gap"]
    assert gap is not None
    assert gap.value == pytest.approx(0.3)
    assert gap.notes["differs_from_baseline"] == 0
    assert len(gap.notes["curve"]) == cascade_curve.SHOWN_POINTS
    first, last = gap.notes["curve"][0], gap.notes["curve"][-1]
    assert first[1:] == pytest.approx([0, 0.2 * EDGE_S, 0.6, 0.2])
    whole = 0.2 * EDGE_S + 0.6 * CLOUD_S + 50 * 90e-9
    assert last[1:] == pytest.approx([1, whole, 0.9, 0.85])
    # ten items that both get wrong go first, then thirty that the large model gets right, then no difference
    assert value(found, cascade_curve.CPT_50) == pytest.approx(0.25)
    assert value(found, cascade_curve.CPT_80) == pytest.approx(0.34)
    assert value(found, cascade_curve.APGR) == pytest.approx((0.3 * 0.5 + 0.6), abs=1e-9)
    assert value(found, cascade_curve.PGR) == pytest.approx(0.0)  # no score is below −1
    for key in ("cascade_held_out_usd", "cascade_held_out_quality"):
        figure = found[key]
        assert figure is not None
        low, high = figure.notes["promised"][1:]
        assert figure.notes["kept"] == (low <= figure.value <= high)
        assert -1 <= figure.notes["threshold"] <= 0
    assert "its rule recovers 75" in cascade_words(summarise(run).rows[1])


def test_a_rule_that_knows_nothing_has_half() -> None:
    run, arm = asked(100, False, 60, 90)
    assert value(cascade_curve.figures(arm, run), cascade_curve.APGR) == pytest.approx(0.5, abs=0.03)


def test_without_a_gap_there_is_a_curve_and_no_share() -> None:
    run, arm = asked(40, True, 20, 20)
    found = cascade_curve.figures(arm, run)
    assert value(found, cascade_curve.GAP) == 0
    assert [found[m.key] for m in cascade_curve.METRICS[1:]] == [None] * (len(cascade_curve.METRICS) - 1)
    assert "there is no gap to recover" in cascade_words(summarise(run).rows[1])


def test_an_item_that_one_model_could_not_read_is_left_out() -> None:
    run, arm = asked(20, True, 5, 15)
    both = arm.suites["factuality"].both
    assert both is not None
    cut = BothAnswered(
        (None, *both.requests[1:]),
        Answered(scores=(None, *both.edge.scores[1:])),
        Answered(scores=(both.cloud.scores[0], None, *both.cloud.scores[2:])),
    )
    arm = replace(arm, suites={"factuality": replace(arm.suites["factuality"], both=cut)})
    gap = cascade_curve.figures(arm, replace(run, arms=(run.arms[0], arm)))["cascade_gap"]
    assert gap is not None
    assert gap.notes["n"] == 18


def test_an_item_that_the_link_lost_is_in_no_point_of_the_curve() -> None:
    """Its answer never came, so no threshold would have had it, and its egress would have been free."""
    run, arm = asked(20, True, 5, 15)
    both = arm.suites["factuality"].both
    assert both is not None
    first, *others = both.requests
    assert first is not None
    lost = replace(both, requests=(replace(first, received_bytes=0, offline=True), *others))
    arm = replace(arm, suites={"factuality": replace(arm.suites["factuality"], both=lost)})
    gap = cascade_curve.figures(arm, replace(run, arms=(run.arms[0], arm)))["cascade_gap"]
    assert gap is not None
    assert gap.notes["n"] == 19
    assert gap.notes["curve"][-1][2] == pytest.approx(0.2 * EDGE_S + 0.6 * CLOUD_S + 50 * 90e-9)


def test_items_that_trained_the_rule_are_in_no_figure() -> None:
    """The first half trained it, of which the edge has 50 right: 10 of the other 50 are left to it."""
    run, arm = asked(100, True, 60, 90)
    assert arm.loaded is not None
    learnt = [
        {"form": "choices", "suite": "factuality", "ids": [f"{k}" for k in range(50)], "n": 50, "same": 44}
    ]
    evidence = ({"step": "cascade: learnt", "checks": [], "cascade": {**TERMS, "learnt": learnt}},)
    arm = replace(arm, loaded=replace(arm.loaded, evidence=evidence))
    run = replace(run, arms=(run.arms[0], arm))
    gap = cascade_curve.figures(arm, run)["cascade_gap"]
    assert gap is not None
    assert (gap.notes["n"], gap.value) == (50, pytest.approx(30 / 50))
    row = summarise(run).rows[1]
    accuracy = row.figure(SUITE.accuracy)
    change = row.figure(SUITE.change)
    assert accuracy is not None
    assert change is not None
    assert (accuracy.notes["n"], change.notes["n"]) == (50, 50)
    assert accuracy.value == pytest.approx(10 / 50)
    base = summarise(run).rows[0].figure(SUITE.accuracy)
    assert base is not None
    assert base.notes["n"] == 100
    assert "trained on other questions: 50 of factuality (the same answer to 44)" in cascade_words(row)
