"""A cascade before a hosted API: its edge is paid always, the API for what goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fakes import arm_record, loaded, run_record, timed_batch

from bench.cli.api_pages import against_json, against_page
from bench.errors import UsageError
from bench.metrics import cascade
from bench.plan.api_comparison import SHOWN, Question, against_apis
from bench.plan.edge_first import EdgeFirst, at_api, edge_first_rows
from bench.pricing.apis import TokenMix
from bench.records import Cascaded
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise
from bench.results.summary import load_run
from bench.stats.intervals import Interval
from bench.stats.proportions import wilson

QUICKSTART = Path(__file__).resolve().parents[2] / "results" / "reference" / "quickstart-no-bf16"
DAY = date(2026, 11, 1)
EDGE, SHARE = Interval(2e-6, 1.5e-6, 2.5e-6), Interval(0.25, 0.2, 0.3)
MIX = TokenMix(48, 16)


def as_cascade(row: Row) -> Row:
    """The row as if its requests had been answered by a cascade."""
    known = {cascade.EDGE.key: cascade.EDGE.scalar(EDGE), cascade.RATE.key: cascade.RATE.scalar(SHARE)}
    return replace(row, metrics={**row.metrics, **known})


@pytest.fixture(scope="module")
def run() -> RunSummary:
    """A run of which each variant but the first is a cascade."""
    found = load_run(QUICKSTART)
    return replace(found, rows=(*found.rows[:2], *map(as_cascade, found.rows[2:])))


def test_the_api_is_paid_for_what_goes_on() -> None:
    """Two microdollars for the edge, and a quarter of the requests at forty each."""
    found = at_api(EdgeFirst("c", EDGE, SHARE, SHARE, MIX), 40e-6)
    usd, ratio = found.request_usd, found.ratio
    assert (usd.value, usd.low, usd.high) == pytest.approx((12e-6, 9.5e-6, 14.5e-6))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.3, 0.2375, 0.3625))


def row_of(*done: Cascaded) -> RunSummary:
    """A run of a baseline and a cascade "c" that did this, at 0.36 USD an hour for its edge device."""
    terms = {
        "rule": "margin", "threshold": 0.5, "sure": "above", "same_tokens": True, "edge": "small",
        "edge_usd_per_hour": 0.36, "egress_usd_per_gb": 0.0,
    }  # fmt: skip
    steps = replace(loaded(), evidence=({"step": "cascade: margin", "checks": [], "cascade": terms},))
    batches = tuple(
        timed_batch(1000 * n, [1000 * n + 900], 1000 * n + 900, [5], [range(9)]) for n in range(len(done))
    )
    arm = arm_record("c", loaded=steps, solo=batches, cascaded=done, prompts_digest="others")
    return summarise(run_record(arm_record(solo=batches), arm))


STAYED = Cascaded(0.9, escalated=False, edge_s=0.1)
WENT = Cascaded(0.1, True, edge_s=0.1, cloud_s=0.5, sent_bytes=9, received_bytes=9)
UNSENT = replace(WENT, cloud_s=0.0, sent_bytes=0, received_bytes=0, offline=True)
LOST = replace(WENT, received_bytes=0, offline=True)


def test_edge_and_share_are_those_of_the_requests() -> None:
    """Four requests take 0.1, 0.2, 0.3 and 0.4 s of the edge device, and one goes on."""
    done = [Cascaded(0.9, n == 3, edge_s=n / 10, cloud_s=0.5 * (n == 3)) for n in (1, 2, 3, 4)]
    ((found,), why) = edge_first_rows(row_of(*done))
    assert (found.title, found.share.value, found.reached, why) == ("c", 0.25, found.share, [])
    assert found.edge_usd.value == pytest.approx((0.1 + 0.2 + 0.3 + 0.4) / 4 * 0.36 / 3600)


@pytest.mark.parametrize(("fourth", "reached"), [(WENT, 2), (LOST, 2), (UNSENT, 1)])
def test_an_api_bills_what_was_sent(fourth: Cascaded, reached: int) -> None:
    """A request that found the link down was never sent. An answer that was lost on its way back was made."""
    ((found,), _why) = edge_first_rows(row_of(STAYED, STAYED, WENT, fourth))
    assert (found.share.value, found.reached) == (0.5, wilson(reached, 4))
    at = at_api(found, 40e-6)
    assert at.request_usd.value == pytest.approx(found.edge_usd.value + reached / 4 * 40e-6)


def test_a_run_of_an_earlier_version_does_not_say_what_was_sent() -> None:
    run = row_of(STAYED, WENT, UNSENT)
    rate = run.rows[1].figure(cascade.RATE)
    assert rate is not None
    notes = {key: value for key, value in rate.notes.items() if key != "reached"}
    older = replace(
        run.rows[1], metrics={**run.rows[1].metrics, cascade.RATE.key: replace(rate, notes=notes)}
    )
    run = replace(run, rows=(run.rows[0], older))
    found, (why,) = edge_first_rows(run)
    assert found == []
    assert "c lost 1 requests on the link" in why
    page = against_page(run, against_apis(run, [], Question(DAY)))
    assert f"left out       {why}" in page


def test_without_bounds_of_a_part_there_are_none_of_the_sum() -> None:
    found = at_api(EdgeFirst("c", Interval(2e-6, None, None), SHARE, SHARE, MIX), 40e-6)
    assert (found.request_usd.low, found.ratio.high) == (None, None)
    assert found.ratio.value == pytest.approx(0.3)


def test_cascades_stand_before_each_api(run: RunSummary) -> None:
    titles = [one.title for one in edge_first_rows(run)[0]]
    assert titles == [row.title for row in run.rows[2:]]
    found = against_apis(run, [], Question(DAY))
    assert [one.title for one in found.cascades] == titles[:SHOWN]
    for api in found.apis:
        assert [one.title for one in api.cascades] == titles[:SHOWN]
        share = EDGE.value / api.offer.request_usd + SHARE.value
        assert [one.ratio.value for one in api.cascades] == pytest.approx([share] * SHOWN)
    assert not {row.title for row in found.rows} & set(titles)


def test_a_cascade_that_is_named(run: RunSummary) -> None:
    """The rows beside it are those that are shown without a name."""
    named = run.rows[-1].title
    found = against_apis(run, [], Question(DAY, ("openai/gpt-5-nano",), (named,)))
    assert [one.title for one in found.cascades] == [named]
    assert found.chosen == against_apis(run, [], Question(DAY)).chosen
    page = against_page(run, found)
    assert "A cascade before an API" in page
    assert "25.0% [20.0%, 30.0%]" in page
    assert "edge dollars + share that reaches the large model * API request" in page
    (api,) = against_json(found)["apis"]
    assert api["cascades"][0]["title"] == named


def test_a_run_without_a_cascade_has_no_such_table() -> None:
    plain = load_run(QUICKSTART)
    found = against_apis(plain, [], Question(DAY))
    assert (found.cascades, edge_first_rows(plain)) == ((), ([], []))
    assert "cascade" not in against_page(plain, found)


def test_a_name_that_no_row_has(run: RunSummary) -> None:
    with pytest.raises(UsageError, match="no measured row called 'nothing'"):
        against_apis(run, [], Question(DAY, (), ("nothing",)))
