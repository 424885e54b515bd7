"""What a sentence says of money and of good requests: both sides of every bound."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.formatting import format_significant
from bench.metrics import goodput, one_off, requests, speculation
from bench.report import row_sentence
from bench.report.row_sentence import (
    bounds_text,
    error_words,
    good_words,
    interval_text,
    once_words,
    speculation_words,
)
from bench.stats.figure import Figure
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import Verdict

BY_ITSELF = "times the cost by its own interval, which is not enough for the error rate of the whole table"


def ratio(
    value: float, low: float | None = None, high: float | None = None, verdict: str = "cannot tell"
) -> Any:
    return SimpleNamespace(ratio=value, ci_low=low, ci_high=high, verdict=Verdict(verdict))


def row(*figures: Figure | None, metrics: tuple[Any, ...]) -> Any:
    by_key = {metric.key: figure for metric, figure in zip(metrics, figures, strict=True)}
    return SimpleNamespace(figure=lambda metric: by_key.get(getattr(metric, "key", metric)))


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (None, "not compared"),
        (ratio(0.5, 0.4, 0.6, "better"), "2.0 × cheaper"),
        (ratio(0.59, 0.4, 0.6, "better"), "1.7 × cheaper"),
        (ratio(0.6, 0.5, 0.7, "better"), "40% cheaper"),
        (ratio(0.97, 0.96, 0.98, "better"), "3% cheaper"),
        (ratio(0.99, 0.985, 0.995, "better"), "1% cheaper"),
        (ratio(0.996, 0.994, 0.998, "better"), "0.4% cheaper"),
        (ratio(1.0004, 1.0002, 1.0006, "worse"), "0.04% more expensive"),
        (ratio(1.61, 1.5, 1.7, "worse"), "1.6 × the cost"),
        (ratio(1.6, 1.5, 1.7, "worse"), "60% more expensive"),
        (ratio(1.05, 1.01, 1.1, "worse"), "5% more expensive"),
        (ratio(0.9), "too few requests to compare the cost"),
        (ratio(0.9, None, 1.0), "too few requests to compare the cost"),
        (ratio(0.9, 0.8, None), "too few requests to compare the cost"),
        (ratio(1.0, 0.89, 1.1), "cannot tell: between 0.89 and 1.10 times the cost"),
        (ratio(1.0, 0.9, 1.11), "cannot tell: between 0.90 and 1.11 times the cost"),
        (ratio(1.0, 0.9, 1.1), "cost the same as far as this run can tell"),
        (ratio(0.97, 0.94, 1.0), "cost the same as far as this run can tell"),
        (ratio(0.97, 0.951, 0.996), f"cannot tell: between 0.951 and 0.996 {BY_ITSELF}"),
        (ratio(1.2, 1.01, 1.4), f"cannot tell: between 1.01 and 1.40 {BY_ITSELF}"),
    ],
)
def test_money_in_words(compared: Any, said: str) -> None:
    assert row_sentence._money(compared) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, ""), (1.0, ""), (0.0, "no good request: none met every limit (slo)"),
     (0.5, "3 of 6 requests were good, each for 0.0400 USD")],
)  # fmt: skip
def test_good_requests_in_words(share: float | None, said: str) -> None:
    figures = goodput.FRACTION.scalar(share, good=3, requests=6), goodput.PER_GOOD.scalar(0.04)
    alone: Any = SimpleNamespace(comparison=lambda _row, _metric: None)
    assert good_words(alone, row(*figures, metrics=(goodput.FRACTION, goodput.PER_GOOD))) == said
    assert format_significant(0.04) == "0.0400"


@pytest.mark.parametrize(
    ("share", "said"), [(None, ""), (0.0, ""), (0.25, "25.0% of the requests failed or were cut short")]
)
def test_failures_in_words(share: float | None, said: str) -> None:
    assert error_words(row(requests.ERRORS.scalar(share), metrics=(requests.ERRORS,))) == said


def test_drafting_in_words() -> None:
    metrics = speculation.LENGTH, speculation.SPEEDUP
    length = speculation.LENGTH.scalar(2.5)
    faster = speculation.SPEEDUP.scalar(1.25, gamma=4, draft_cost=0.2, verify_cost=1.1)
    said = (
        "2.5 tokens a pass; drafting took 0.80 and verifying 1.10 steps of the baseline, "
        "so decoding should be 1.25 × as fast"
    )
    assert speculation_words(row(length, faster, metrics=metrics), None) == said
    with_it = speculation_words(row(length, faster, metrics=metrics), ratio(0.8333, 0.8, 0.9))
    assert with_it == f"{said} (measured: 1.20 ×)"
    assert speculation_words(row(length, None, metrics=metrics), None).endswith("hardly anything was drafted")
    assert speculation_words(row(None, faster, metrics=metrics), None) == ""


@pytest.mark.parametrize(
    ("seconds", "even", "said"),
    [
        (9.99, 50.0, ""),
        (10.0, 1234.0, "made once in 10 s for 2.00 USD, earned back after 1,234 requests"),
        (10.0, None, "made once in 10 s for 2.00 USD, not shown to be earned back"),
    ],
)
def test_work_done_once_in_words(seconds: float, even: float | None, said: str) -> None:
    figures = one_off.USD.scalar(2.0, seconds=seconds), one_off.BREAK_EVEN.scalar(even)
    assert once_words(row(*figures, metrics=(one_off.USD, one_off.BREAK_EVEN))) == said


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (None, "-"),
        (ratio(0.66, 0.65, 0.68), "0.660 [0.650, 0.680]"),
        (ratio(0.66, None, 0.68), "0.660"),
        (ratio(0.66, 0.65, None), "0.660"),
        (ratio(0.1, 0.09, 0.11), "0.100 [0.090, 0.110]"),
        (ratio(0.05, 0.04, 0.06), "0.0500 [0.0400, 0.0600]"),
    ],
)
def test_a_ratio_with_its_interval(compared: Any, said: str) -> None:
    assert interval_text(compared) == said


@pytest.mark.parametrize(
    ("interval", "said"),
    [(None, ""), (Interval(1, None, 2), ""), (Interval(1, 0, None), ""), (Interval(1, 0.5, 2), "[0.5, 2]")],
)
def test_bounds_in_words(interval: Interval | None, said: str) -> None:
    assert bounds_text(interval, lambda value: f"{value:g}") == said
