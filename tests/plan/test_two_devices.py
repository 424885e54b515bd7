"""A model on two devices has two prices: it was planned and compared as half of one machine."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from fakes import arm_record, loaded, run_record, timed_batch
from rich_rows import SPLIT

from bench.cli.api_pages import against_page
from bench.errors import Outcome, UsageError
from bench.plan.api_comparison import Question, against_apis
from bench.plan.measured import measured_options, not_planned
from bench.plan.served import served_rows
from bench.plan.two_devices import LEFT_OUT
from bench.records import SplitWork
from bench.results.run_summary import RunSummary
from bench.results.summary import summarise

SOLO = tuple(
    timed_batch(400 * i, [400 * i + ms for ms in (80, 180, 290, 400)], 400 * (i + 1), [10], [[5] * 4])
    for i in range(2)
)
NANO = "openai/gpt-5-nano"


def run_with(work: SplitWork) -> RunSummary:
    both = arm_record("both", solo=SOLO, loaded=loaded(), split=work)
    return summarise(run_record(arm_record(solo=SOLO, loaded=loaded()), both))


def test_it_is_left_out_with_its_cost() -> None:
    """0.8 s of the edge at 0.01 USD an hour, 60 ms of the cloud at 3.60, 112 bytes at 0.09 USD a gigabyte."""
    run = run_with(SPLIT)
    usd = 1e6 * (0.01 * 0.8 / 3600 + 3.6 * 0.06 / 3600 + 0.09 * 112 / 1e9) / 2
    assert [row.title for row in served_rows(run)] == ["baseline"]
    assert [option.title for option in measured_options(run)] == ["baseline"]
    (why,) = not_planned(run)
    assert why.startswith(f"both {LEFT_OUT}: at both prices a million requests cost {usd:.1f} USD")
    page = against_page(run, against_apis(run, [], Question(date(2026, 11, 1), (NANO,))))
    assert f"left out       {why}" in page


def test_without_prices_it_says_where_they_belong() -> None:
    (why,) = not_planned(run_with(replace(SPLIT, cloud_usd_per_hour=None)))
    assert "give edge_usd_per_hour and cloud_usd_per_hour" in why


def test_a_row_asked_for_says_why_it_is_not_there() -> None:
    """The message was that there is no such row."""
    with pytest.raises(UsageError, match=f"both {LEFT_OUT}"):
        against_apis(run_with(SPLIT), [], Question(date(2026, 11, 1), (NANO,), ("both",)))
    run = run_with(SPLIT)
    failed = replace(run.rows[1], status=Outcome.OOM_HOST)
    asked = Question(date(2026, 11, 1), (NANO,), ("both",))
    with pytest.raises(UsageError, match="both is oom_host"):
        against_apis(replace(run, rows=(run.rows[0], failed)), [], asked)
