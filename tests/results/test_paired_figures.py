"""Every format shows one figure of a row: the one of the table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.api import load_run
from bench.formatting import format_significant
from bench.metrics import characters, cost, goodput, latency, requests, throughput, under_load
from bench.report.custom_columns import chosen_columns
from bench.report.formats import csv as csv_format
from bench.report.formats import github_action_benchmark, html, jsonl, junit, pytest_benchmark
from bench.results.history import histories
from bench.results.paired_figures import BOTH, in_turns, shown, shown_figure, shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Metric
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import RatioDesign

QUICKSTART = Path(__file__).parents[2] / "results" / "reference" / "quickstart"
TIMED = tuple(dict.fromkeys((*BOTH, latency.ITL, *throughput.METRICS, *cost.METRICS, characters.PER_1K)))


@cache
def quickstart() -> RunSummary:
    return load_run(QUICKSTART).summary


def variant(run: RunSummary) -> Row:
    """A row whose own figures are far from those of its pairs."""
    return next(row for row in run.rows if row.name == "int8-dynamic")


def as_csv(run: RunSummary) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(csv_format.render([run]))))


def test_the_run_has_rows_whose_own_figures_differ() -> None:
    """Otherwise the tests below could not fail."""
    run, row = quickstart(), variant(quickstart())
    for metric in (latency.TTFT, latency.TPOT, latency.E2EL, throughput.OUTPUT, throughput.REQUESTS):
        own, figure = row.figure(metric), shown(run, row, metric)
        assert own is not None
        assert figure is not None
        assert abs(figure.value / own.value - 1) > 1e-4, metric.key


@pytest.mark.parametrize("metric", TIMED, ids=lambda metric: metric.key)
def test_csv_json_lines_and_the_api_have_the_figures_of_the_table(metric: Metric) -> None:
    run = quickstart()
    lines = [json.loads(line) for line in jsonl.render([run]).splitlines()]
    column = chosen_columns(run, metric.key)[-1]
    for row, flat, cells, line in zip(run.rows, run.flat_rows(), as_csv(run), lines, strict=True):
        assert format_significant(flat[metric.key]) == column.cell(run, row)
        for key in (metric.key, f"{metric.key}_ci_low", f"{metric.key}_ci_high"):
            assert flat[key] == line[key] == (float(cells[key]) if cells[key] else None)


def test_the_figures_of_two_rows_have_the_ratio_beside_them() -> None:
    base, *variants = quickstart().flat_rows()
    for row in variants:
        for metric in BOTH:
            assert row[metric.key] / base[metric.key] == pytest.approx(row[f"{metric.key}_ratio"]), row[
                "name"
            ]


def test_figures_without_a_ratio_share_the_factor_of_their_time() -> None:
    """What the row measured alone says how they belong together; in the table they still do."""
    run = quickstart()
    for row, flat in zip(run.rows, run.flat_rows(), strict=True):
        own = {metric.key: row.figure(metric) for metric in TIMED}

        def kept(one: Metric, other: Metric, power: int, own: Any = own, flat: Any = flat) -> None:
            before = own[one.key].value * own[other.key].value ** power
            assert flat[one.key] * flat[other.key] ** power == pytest.approx(before), (one.key, other.key)

        kept(latency.ITL, latency.TPOT, -1)
        kept(throughput.DECODE, latency.TPOT, 1)
        kept(throughput.PREFILL, latency.TTFT, 1)
        kept(throughput.REQUESTS, throughput.OUTPUT, -1)
        kept(throughput.TOTAL, throughput.OUTPUT, -1)
        assert flat["ttft_ms_ci_low"] < flat["ttft_ms"] < flat["ttft_ms_ci_high"]
        assert (
            flat["prefill_throughput_ci_low"]
            < flat["prefill_throughput"]
            < flat["prefill_throughput_ci_high"]
        )


def test_the_costs_of_both_phases_follow_their_times_and_add_up() -> None:
    """Prompts whose time falls more than that of a request also cost less than the request's share."""
    base, *variants = quickstart().flat_rows()
    for row in variants:
        tokens = row["total_token_throughput"] - row["output_throughput"], row["output_throughput"]
        keys = "cost_per_1k_input_tokens_usd", "cost_per_1k_output_tokens_usd"
        paid = sum(row[key] * count for key, count in zip(keys, tokens, strict=True))
        assert paid == pytest.approx(row["cost_per_1k_tokens_usd"] * row["total_token_throughput"])
        prompt, further = (row[key] / base[key] for key in keys)
        times = row["ttft_ms_ratio"] / row["tpot_ms_ratio"]
        lengths = tokens[0] * base["output_throughput"] / tokens[1]
        lengths /= base["total_token_throughput"] - base["output_throughput"]
        if row["name"] != "int8-dynamic":  # its replies have other lengths, and so do its batches
            assert prompt / further * lengths == pytest.approx(times, rel=0.05), row["name"]
        for key in keys:
            assert row[f"{key}_ci_low"] < row[key] < row[f"{key}_ci_high"]


def test_good_requests_have_the_factor_of_all_requests() -> None:
    run, row = quickstart(), variant(quickstart())
    cheap, rate = row.figure(cost.PER_REQUEST), row.figure(throughput.REQUESTS)
    assert cheap is not None
    assert rate is not None
    figures = {
        goodput.PER_GOOD.key: goodput.PER_GOOD.scalar(cheap.value / 0.75),
        goodput.GOODPUT.key: goodput.GOODPUT.scalar(0.75 * rate.value),
    }
    row = replace(row, metrics={**row.metrics, **figures})
    assert shown_value(run, row, goodput.PER_GOOD) == pytest.approx(
        (shown_value(run, row, cost.PER_REQUEST) or 0.0) / 0.75
    )
    assert shown_value(run, row, goodput.GOODPUT) == pytest.approx(
        0.75 * (shown_value(run, row, throughput.REQUESTS) or 0.0)
    )


def test_what_a_row_measured_alone_stands_beside_it() -> None:
    run = quickstart()
    for row, flat in zip(run.rows, run.flat_rows(), strict=True):
        for metric in (latency.TTFT, latency.E2EL, throughput.OUTPUT):
            own = row.figure(metric)
            assert own is not None
            assert flat[f"{metric.key}_alone"] == own.value
        assert (flat["cost_per_request_usd_alone"] == flat["cost_per_request_usd"]) == row.is_baseline


def test_formats_for_ci_have_the_figures_of_the_table() -> None:
    run = quickstart()
    flat = {row["name"]: row for row in run.flat_rows()}
    suites = ET.fromstring(junit.render([run]))
    seconds = {case.get("name"): float(case.get("time", "nan")) for case in suites.iter("testcase")}
    means = {
        one["name"]: one["stats"]["mean"] for one in json.loads(pytest_benchmark.render([run]))["benchmarks"]
    }
    entries = {one["name"]: one["value"] for one in json.loads(github_action_benchmark.render([run]))}
    for name, row in flat.items():
        assert seconds[name] == pytest.approx(row["e2el_ms"] / 1e3, abs=1e-6)
        assert means[name] == pytest.approx(row["e2el_ms"] / 1e3)
        for metric in github_action_benchmark.PLOTTED:
            assert entries.get(f"{run.name}: {name}: {metric.key}") == row[metric.key]


def test_the_history_has_the_figures_of_the_table() -> None:
    run = quickstart()
    found = {one.variant: one.values for one in histories([run], [latency.TPOT.key])}
    assert found == {row["name"]: (row["tpot_ms"],) for row in run.flat_rows()}


def test_the_page_says_which_figure_was_measured_alone() -> None:
    run = quickstart()
    own, figure = variant(run).figure(latency.TPOT), shown(run, variant(run), latency.TPOT)
    assert own is not None
    assert figure is not None
    page = html.render([run])
    assert f"alone\N{NO-BREAK SPACE}{format_significant(own.value)}" in page


def test_a_percentile_has_the_factor_of_its_mean_and_its_own_bounds() -> None:
    run, row = quickstart(), variant(quickstart())
    p90 = under_load.PERCENTILES[latency.TTFT, 90]
    figure, mean = p90.scalar(Interval(200.0, 150.0, 300.0)), row.figure(latency.TTFT)
    assert mean is not None
    row = replace(row, metrics={**row.metrics, p90.key: figure, requests.TTFT_SCHED.key: mean})
    paired = shown(run, row, latency.TTFT)
    assert paired is not None
    by = paired.value / mean.value
    found = shown(run, row, p90)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((200 * by, 150 * by, 300 * by))
    scheduled = shown(run, row, requests.TTFT_SCHED)
    assert scheduled is not None
    assert scheduled.value == pytest.approx(paired.value)


def test_a_row_that_was_measured_alone_has_its_own_figures() -> None:
    run = quickstart()
    apart = replace(run, comparisons=tuple(replace(one, design=RatioDesign.SOLO) for one in run.comparisons))
    without = replace(run, comparisons=tuple(replace(one, value=None) for one in run.comparisons))
    row = variant(run)
    for other in (apart, without):
        for metric in TIMED:
            own = row.figure(metric)
            assert own is not None
            assert shown(other, row, metric) == own.interval
    assert not any(map(in_turns, apart.comparisons))


def test_a_timed_figure_is_the_baseline_s_times_the_ratio() -> None:
    run, row = quickstart(), variant(quickstart())

    def with_value(value: float | None) -> RunSummary:
        ratios = [
            replace(one, value=value, value_low=0.4, value_high=0.6, design=RatioDesign.DUET)
            if one.metric == cost.PER_1K.key
            else one
            for one in run.comparisons
        ]
        return replace(run, comparisons=tuple(ratios))

    assert shown(with_value(0.5), row, cost.PER_1K) == Interval(0.5, 0.4, 0.6)
    figure = row.figure(cost.PER_1K)
    assert figure is not None
    assert shown(with_value(None), row, cost.PER_1K) == figure.interval != Interval(0.5, 0.4, 0.6)


def test_a_missing_figure_stays_missing() -> None:
    run = quickstart()
    bare = replace(variant(run), name="not compared", metrics={}, drift={})
    assert shown(run, bare, cost.PER_1K) is None
    assert shown_figure(run, bare, cost.PER_1K) is None
    assert "ttft_ms_alone" not in replace(run, rows=(bare,)).flat_rows()[0]
