"""One log ratio per unit: sums over requests, and what sides with different workloads are divided by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import arm_record, run_record, unit

from bench.metrics.unit_ratios import log_ratio, price_shift
from bench.pricing.reprice import price_block
from bench.records import ColdStart, Counted, MemoryPeaks, Sides, UnitRecord

# The baseline: two batches of one request, a prompt of 10 and two steps of 2; the variant is 3 times slower.
SAME = unit([[10, 2, 2], [10, 2, 2]], [[30, 6, 6], [30, 6, 6]])
# One batch of two requests with four tokens each, against two batches of one request with three tokens.
OTHER = unit([[10, 2, 2], [10, 2, 2]], [[20, 4, 4, 4]], requests=Sides(2, 2))


def ratio(one: UnitRecord, metric: str) -> float:
    found = log_ratio(one, metric)
    assert found is not None
    return math.exp(found)


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("cost_per_request_usd", 3), ("cost_per_1k_tokens_usd", 3), ("e2el_ms", 3), ("ttft_ms", 3),
        ("tpot_ms", 3), ("request_throughput", 1 / 3), ("output_throughput", 1 / 3),
        ("total_token_throughput", 1 / 3),
        ("prefill_throughput", 1 / 3), ("decode_throughput", 1 / 3),
    ],
)  # fmt: skip
def test_of_the_same_workload_plain_sums(metric: str, wanted: float) -> None:
    assert ratio(SAME, metric) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("cost_per_request_usd", (32 / 2) / (28 / 2)),
        ("e2el_ms", 32 / (28 / 2)),
        ("ttft_ms", 20 / 10),
        ("tpot_ms", 4 / 2),
        ("request_throughput", (2 / 32) / (2 / 28)),
        ("output_throughput", (8 / 32) / (6 / 28)),
        ("decode_throughput", (1 / 4) / (1 / 2)),
    ],
)
def test_of_different_workloads_each_in_its_own_unit(metric: str, wanted: float) -> None:
    assert ratio(OTHER, metric) == pytest.approx(wanted)


@pytest.mark.parametrize("metric", ["total_token_throughput", "prefill_throughput"])
def test_what_different_workloads_do_not_share_is_not_compared(metric: str) -> None:
    assert log_ratio(OTHER, metric) is None


def test_a_whole_answer_has_no_steps() -> None:
    whole = unit([[10], [10]], [[20], [20]])
    assert ratio(whole, "cost_per_request_usd") == 2
    assert log_ratio(whole, "tpot_ms") is None


def test_cold_starts_and_peaks() -> None:
    peaks = Sides(
        MemoryPeaks({"peak_rss_bytes": 10}, {"peak_rss_bytes": 40}), MemoryPeaks({"peak_rss_bytes": 50}, {})
    )
    found = replace(SAME, cold=Sides(ColdStart(2.0, 90.0), ColdStart(3.0, 45.0)), peaks=peaks)
    assert ratio(found, "load_s") == pytest.approx(1.5)
    assert ratio(found, "first_request_ms") == pytest.approx(0.5)
    assert ratio(found, "peak_rss_bytes") == pytest.approx(50 / 40)
    assert log_ratio(found, "peak_device_bytes") is None
    assert log_ratio(SAME, "load_s") is None


def counted(requests: int, tokens_in: int, tokens_out: int) -> Counted:
    return Counted(requests, tokens_in, tokens_out, None, None, None)


def test_a_cost_per_token_counts_each_sides_own_tokens() -> None:
    base = arm_record(counters=counted(1, 10, 10))
    variant = arm_record("v", counters=counted(2, 20, 60))
    run = run_record(base, variant)
    assert math.exp(price_shift(run, base, variant, "cost_per_1k_tokens_usd")) == pytest.approx(20 / 40)
    assert price_shift(run, base, variant, "cost_per_request_usd") == 0
    assert price_shift(run, base, variant, "tpot_ms") == 0


def test_each_commit_has_the_price_of_its_own_config() -> None:
    base, variant = arm_record(), arm_record("v")
    run = run_record(base, variant)
    ours = price_block(None, 3.0, 1.0, "2026-01-01")
    theirs = price_block(None, 2.0, 1.0, "2026-01-01")
    found = replace(run, price=ours, gate={"base_price": theirs})
    assert math.exp(price_shift(found, base, variant, "cost_per_request_usd")) == pytest.approx(1.5)
