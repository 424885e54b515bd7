"""Every figure of a row from hand-made records, with answers worked out by hand; missing is None, never 0."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from fakes import arm_record, drift_window, loaded, pairs, run_record, timed_batch

from bench.drift.suites import generation
from bench.errors import Outcome
from bench.metrics import (
    all_metrics,
    comparisons,
    cost,
    counters,
    device,
    drift_keys,
    encoded,
    energy,
    families,
    latency,
    memory,
    output_drift,
    ratios,
    roofline,
    throughput,
    under_load,
)
from bench.pricing.book import parse_price
from bench.records import (
    ArmRecord,
    EnergyReading,
    MemoryPeaks,
    RunRecord,
    Speculated,
    StepProfile,
    UnitRecord,
    WarmUp,
)
from bench.records.grid import grid_of
from bench.results.summarise import summarise
from bench.stats.figure import Figure, Figures, Metric, value_of
from bench.stats.intervals import Distribution, Interval
from bench.stats.pairs import OTHER_KERNELS, SAME_KERNELS, pair_ratio
from bench.stats.ratio_verdict import verdict_of

# Two requests, one after the other: 3 tokens in 100 + 20 + 30 ms, then 3 tokens in 200 + 10 + 10 ms.
# W = 400 ms: the second is sent at 170 ms and ends at 400 ms.
SOLO = (
    timed_batch(0, [100, 120, 150], 160, [10], [[5, 6, 7]]),
    timed_batch(170, [370, 380, 390], 400, [30], [[8, 2, 9]]),
)
MEMORY = MemoryPeaks(
    prefill={"peak_rss_bytes": 900, "peak_allocated_bytes": None, "peak_device_bytes": None},
    decode={"peak_rss_bytes": 700, "peak_allocated_bytes": None, "peak_device_bytes": None},
)
ENERGY = EnergyReading(
    60.0, energy_valid=True, code="ok", reason="", boundary="CPU package (RAPL)", requests=4, output_tokens=12
)
BASE = arm_record(solo=SOLO, memory=MEMORY)


def figure(module: Any, key: str, arm: ArmRecord = BASE, **run: Any) -> Figure | None:
    found: Figures = module.figures(arm, run_record(arm, **run))
    return found[key]


def known(module: Any, key: str, arm: ArmRecord = BASE, **run: Any) -> Figure:
    """A figure that is there."""
    found = figure(module, key, arm, **run)
    assert found is not None
    return found


def sample(module: Any, key: str, arm: ArmRecord = BASE) -> Distribution:
    """What a figure of many requests sums up."""
    found = known(module, key, arm).sample
    assert found is not None
    return found


def value(module: Any, key: str, arm: ArmRecord = BASE, **run: Any) -> float | None:
    return value_of(figure(module, key, arm, **run))


# ---- 4.1 latency -----------------------------------------------------------------------------------


def test_latency_by_hand() -> None:
    assert value(latency, "ttft_ms") == pytest.approx((100 + 200) / 2)
    assert value(latency, "tpot_ms") == pytest.approx((25 + 10) / 2)
    assert value(latency, "itl_ms") == pytest.approx((20 + 30 + 10 + 10) / 4)
    assert value(latency, "e2el_ms") == pytest.approx((160 + 230) / 2)
    assert value(latency, "load_s") == 1.5
    assert value(latency, "first_request_ms") == 5.0


def test_gaps_are_pooled_and_requests_are_not() -> None:
    gaps = sample(latency, "itl_ms")
    assert gaps.n == 4
    assert sample(latency, "tpot_ms").n == 2
    assert gaps.p50 == pytest.approx(15)
    assert gaps.sd == pytest.approx(math.sqrt((2.5**2 + 12.5**2 + 2 * 7.5**2) / 3))


def test_the_sum_of_gaps_is_last_minus_first() -> None:
    one = arm_record(solo=SOLO[:1])
    gaps, requests = sample(latency, "itl_ms", one), sample(latency, "tpot_ms", one)
    assert gaps.mean * gaps.n == pytest.approx(150 - 100)
    assert gaps.mean == pytest.approx(requests.mean)


def test_each_request_of_a_batch_counts() -> None:
    batch = timed_batch(0, [100, 120], 130, [10, 4], [[5, 6], [7, 8]])
    found = sample(latency, "ttft_ms", arm_record(solo=(batch,)))
    assert (found.n, found.mean) == (2, 100)


def test_percentiles_wait_for_enough_samples() -> None:
    found = sample(latency, "e2el_ms")
    assert found.p50 is not None
    assert found.p90 is found.p95 is found.p99 is None


# ---- 4.2 throughput --------------------------------------------------------------------------------


def test_throughput_by_hand() -> None:
    assert value(throughput, "request_throughput") == pytest.approx(2 / 0.4)
    assert value(throughput, "output_throughput") == pytest.approx(6 / 0.4)
    assert value(throughput, "total_token_throughput") == pytest.approx(46 / 0.4)
    assert value(throughput, "prefill_throughput") == pytest.approx(40 / 0.3)
    assert value(throughput, "decode_throughput") == pytest.approx(4 / 0.07)


def test_decode_volume_of_a_batch_is_batch_times_steps() -> None:
    batch = timed_batch(0, [100, 150, 200], 210, [10, 4], [[5, 6, 7], [7, 8, 9]])
    assert value(throughput, "decode_throughput", arm_record(solo=(batch,))) == pytest.approx(2 * 2 / 0.1)


# ---- 4.4 memory ------------------------------------------------------------------------------------


def test_memory_by_hand() -> None:
    assert value(memory, "weights_bytes") == 4000
    assert value(memory, "kv_bytes_per_token") == 100
    assert value(memory, "load_peak_rss_bytes") == 5000
    found = known(memory, "peak_rss_bytes")
    assert found.value == 900
    assert found.notes["phases"] == {"prefill": 900, "decode": 700}
    assert figure(memory, "peak_allocated_bytes") is None


def test_the_cache_of_a_batch_is_read_where_nothing_is_counted() -> None:
    assert figure(counters, "kv_cache_bytes") is None
    read = replace(BASE, memory=MemoryPeaks({}, {}, cache=131_072))
    assert value(counters, "kv_cache_bytes", read) == 131_072


# ---- 4.5 energy ------------------------------------------------------------------------------------


def test_energy_by_hand() -> None:
    arm = replace(BASE, energy=ENERGY)
    assert value(energy, "energy_per_output_token_j", arm) == 5
    assert value(energy, "energy_per_request_j", arm) == 15
    assert known(energy, "energy_per_request_j", arm).notes["boundary"] == "CPU package (RAPL)"


@pytest.mark.parametrize("record", [None, EnergyReading(0.0, False, "counter_stuck", "")])
def test_no_valid_energy_is_no_figure(record: Any) -> None:
    arm = replace(BASE, energy=record)
    assert figure(energy, "energy_per_output_token_j", arm) is None
    assert figure(energy, "energy_per_request_j", arm) is None


ON_GPU = replace(ENERGY, boundary="GPU board (NVML)", energy_j=600.0, window_s=2.0, idle_w=100.0)


def test_net_energy_leaves_out_what_the_idle_device_draws() -> None:
    """600 J in 2 s, of which an idle board of 100 W draws 200."""
    arm = replace(BASE, energy=ON_GPU)
    assert value(energy, "energy_per_request_j", arm) == 150
    assert value(energy, "energy_net_per_request_j", arm) == 100
    assert value(energy, "energy_net_per_output_token_j", arm) == pytest.approx(400 / 12)
    assert known(energy, "energy_net_per_request_j", arm).notes["idle_w"] == 100


@pytest.mark.parametrize(
    ("reading", "net"),
    [
        (replace(ON_GPU, idle_w=None), 100),  # its baseline has measured it
        (replace(ON_GPU, idle_w=None, boundary="CPU package (RAPL)"), None),  # of other hardware
        (replace(ON_GPU, energy_j=150.0), None),  # less than idle: nothing is left
    ],
)
def test_a_variant_shares_its_baseline_s_idle_power(reading: EnergyReading, net: float | None) -> None:
    variant = arm_record("v", energy=reading, solo=SOLO)
    run = run_record(replace(BASE, energy=ON_GPU), variant)
    assert value_of(energy.figures(variant, run)["energy_net_per_request_j"]) == net
    assert ("energy_net_per_request_j" in energy.worked(variant, run)) == (net is not None)


GRID = {"g_co2_per_kwh": 360.0, "date": "2026-06-01", "source": "a grid", "pue": 1.5}


def asked(arm: ArmRecord, **block: Any) -> Figures:
    return energy.figures(arm, replace(run_record(arm), spec={"energy": block} if block else {}))


def test_grams_of_co2_by_hand() -> None:
    """150 J are 1/24 Wh; at a PUE of 1.5 and 360 g/kWh they are 0.0225 g."""
    arm = replace(BASE, energy=ON_GPU)
    found = asked(arm, **GRID)["co2_per_request_g"]
    assert found is not None
    assert found.value == pytest.approx(0.0225)
    assert found.notes == {"basis": "measured", "grid_date": "2026-06-01", "grid_source": "a grid"}
    assert asked(arm)["co2_per_request_g"] is None


def test_modelled_energy_is_asked_for_and_has_a_key_of_its_own() -> None:
    seconds = sum(batch.duration_s for batch in BASE.solo) / sum(batch.requests for batch in BASE.solo)
    found = asked(BASE, modelled_watts=200.0, **GRID)
    modelled, co2 = found["energy_modelled_per_request_j"], found["co2_per_request_g"]
    assert modelled is not None
    assert co2 is not None
    assert modelled.value == pytest.approx(200 * seconds)
    assert modelled.formula.startswith("modelled, not measured")
    assert (modelled.notes["basis"], co2.notes["basis"]) == ("modelled", "modelled")
    assert found["energy_per_request_j"] is None
    assert asked(BASE)["energy_modelled_per_request_j"] is None
    measured = asked(replace(BASE, energy=ON_GPU), modelled_watts=200.0)
    assert measured["energy_modelled_per_request_j"] is None


def test_a_check_that_differs_is_said_beside_the_figure() -> None:
    reading = replace(ON_GPU, code="counters_differ", integrated_j=660.0)
    found = known(energy, "energy_per_request_j", replace(BASE, energy=reading)).notes
    assert (found["energy_valid"], found["integrated_power_ratio"]) == ("counters_differ", pytest.approx(1.1))


def test_every_phase_of_a_gpu_s_memory_is_kept() -> None:
    """The figure is of serving; loading and scoring may take more."""
    phase = {"peak_rss_bytes": 1, "peak_allocated_bytes": 50, "peak_device_bytes": 70}
    loaded = replace(BASE.loaded or fail(), load_memory={"peak_rss_bytes": 9, "peak_allocated_bytes": 90})
    arm = replace(
        BASE, loaded=loaded, memory=MemoryPeaks(phase, phase), drift_memory={"peak_allocated_bytes": 60}
    )
    found = known(memory, "peak_allocated_bytes", arm)
    assert found.value == 50
    assert found.notes["phases"] == {"prefill": 50, "decode": 50, "load": 90, "drift": 60}
    assert known(memory, "peak_rss_bytes", arm).notes["phases"] == {"prefill": 1, "decode": 1}


def fail() -> Any:
    raise AssertionError("the baseline of these tests is loaded")


# ---- 4.6 cost --------------------------------------------------------------------------------------

# 0.36 USD an hour for 4 processors, 2 of them in use: 0.18 USD an hour, 0.05 USD per 1000 s; W = 0.4 s.
C_RUN = 0.36 * 0.5 * 0.4 / 3600


def test_cost_by_hand() -> None:
    assert value(cost, "cost_per_request_usd") == pytest.approx(C_RUN / 2)
    assert value(cost, "cost_per_1k_tokens_usd") == pytest.approx(1000 * C_RUN / 46)
    prefill, decode = C_RUN * 0.3 / 0.37, C_RUN * 0.07 / 0.37
    assert value(cost, "cost_per_1k_input_tokens_usd") == pytest.approx(1000 * prefill / 40)
    assert value(cost, "cost_per_1k_output_tokens_usd") == pytest.approx(1000 * decode / 6)
    assert value(cost, "cost_per_1m_tokens_all_on_input") == pytest.approx(1e6 * C_RUN / 40)
    assert value(cost, "cost_per_1m_tokens_all_on_output") == pytest.approx(1e6 * C_RUN / 6)


def test_the_identities_of_cost() -> None:
    per_in, per_out = (value(cost, f"cost_per_1k_{side}_tokens_usd") or 0 for side in ("input", "output"))
    assert per_in * 40 / 1000 + per_out * 6 / 1000 == pytest.approx(C_RUN)
    all_in, all_out = (value(cost, f"cost_per_1m_tokens_all_on_{side}") or 0 for side in ("input", "output"))
    assert 1 / all_in + 1 / all_out == pytest.approx(
        1 / (1000 * (value(cost, "cost_per_1k_tokens_usd") or 0))
    )
    speed = value(throughput, "total_token_throughput") or 0
    assert 1000 * (value(cost, "cost_per_1k_tokens_usd") or 0) == pytest.approx(0.18 / (speed * 3600 / 1e6))


def test_half_the_utilisation_is_twice_the_cost() -> None:
    assert value(cost, "cost_per_request_usd", utilisation=0.5) == pytest.approx(C_RUN)


def test_threads_beyond_the_instance_cost_the_instance() -> None:
    arm = replace(BASE, loaded=loaded(threads=64))
    assert value(cost, "cost_per_request_usd", arm) == pytest.approx(2 * C_RUN / 2)


def test_the_interval_of_a_cost_is_that_of_the_request_times() -> None:
    batches = tuple(
        timed_batch(i * 100, [i * 100 + 50, i * 100 + 60], i * 100 + 80 + i, [5], [[1, 2]]) for i in range(6)
    )
    found = known(cost, "cost_per_request_usd", arm_record(solo=batches))
    spread = [80 + i for i in range(6)]
    half = 2.5705818 * math.sqrt(17.5 / 5) / math.sqrt(6) / (sum(spread) / 6)
    assert found.ci_low == pytest.approx(found.value * (1 - half), rel=1e-5)
    assert found.ci_high == pytest.approx(found.value * (1 + half), rel=1e-5)


# ---- 4.8, 4.9 drift --------------------------------------------------------------------------------

WINDOW = drift_window([0.1, 0.3], [1, 0], [math.log(0.5), math.log(0.25)], [math.log(0.25), math.log(0.25)])
FLOOR = drift_window([0.001], [1], [-1.0], [-1.0])
VARIANT = arm_record("v", solo=SOLO, memory=MEMORY, drift=(WINDOW,))


def row_of(module: Any, *arms: ArmRecord) -> Figures:
    return module.figures(arms[-1], run_record(*arms))  # type: ignore[no-any-return]


def measured(found: Figures) -> dict[str, Figure]:
    """Without what was not."""
    return {key: figure for key, figure in found.items() if figure is not None}


def test_drift_by_hand() -> None:
    found = measured(row_of(output_drift, replace(BASE, floor=(FLOOR,)), VARIANT))
    assert found["kld_mean"].value == pytest.approx(0.2)
    assert found["kld_mean"].notes["noise_floor"] == pytest.approx(0.001)
    assert found["kld_max"].value == 0.3
    assert found["kld_p99"].value == pytest.approx(0.298)
    assert found["top1_agreement"].value == 0.5
    assert found["ppl"].value == pytest.approx(4)
    assert found["ppl_ratio"].value == pytest.approx(math.sqrt(2))
    assert found["rms_delta_p"].value == pytest.approx(0.25 / math.sqrt(2))


def test_a_baseline_has_a_perplexity_and_no_drift() -> None:
    for base in (BASE, replace(BASE, floor=(FLOOR,))):
        found = output_drift.figures(base, run_record(base, VARIANT))
        assert found["ppl"] is not None
        assert all(found[key] is None for key in found if key != "ppl")


def test_nothing_scored_is_no_drift() -> None:
    assert set(row_of(output_drift, BASE, replace(VARIANT, drift=())).values()) == {None}
    assert set(output_drift.figures(BASE, run_record(BASE)).values()) == {None}


def test_generations_by_hand() -> None:
    """The second reply ends at token 2 (the end of text) on both sides."""
    other = (replace(SOLO[0], tokens=((5, 6, 0),)), replace(SOLO[1], tokens=((8, 2, 1),)))
    found = measured(row_of(generation, BASE, replace(VARIANT, solo=other)))
    assert found["exact_match"].value == 0.5
    assert found["exact_match"].notes["n"] == 2
    assert found["first_divergence_token"].value == (2 + 1) / 2
    assert found["length_ratio"].value == 1
    assert found["length_ratio"].notes["cut"] == 0.5


def test_generations_that_the_config_leaves_out() -> None:
    run = run_record(BASE, VARIANT)
    for suites, count in (["generation"], 5), ([], 0):
        found = generation.figures(VARIANT, replace(run, spec={"drift": {"suites": suites}}))
        assert sum(figure is not None for figure in found.values()) == count


@pytest.mark.parametrize(
    "variant",
    [
        replace(VARIANT, prompts_digest="other"),
        replace(VARIANT, solo=()),
        replace(VARIANT, loaded=loaded(random_weights=True)),
    ],
)
def test_no_generations_to_compare(variant: ArmRecord) -> None:
    assert set(row_of(generation, BASE, variant).values()) == {None}


# ---- roofline --------------------------------------------------------------------------------------


def test_roofline_by_hand() -> None:
    """4 steps in 0.07 s, each of 4000 B of weights and 21.5 tokens of 100 B; 2 · 1000 · 40 FLOP in 0.3 s."""
    base = replace(BASE, ceilings={"memory_bytes_per_s": 1e6, "matmul_flop_per_s": 1e6})
    context = (40 + 6 / 2) / 2
    assert value(roofline, "mbu", base) == pytest.approx((4000 + context * 100) * 4 / 0.07 / 1e6)
    first = base.solo[0]
    tokens = sum(first.input_tokens) + sum(len(reply) - 1 for reply in first.tokens)
    window = replace(base, memory=MemoryPeaks({}, {}, cache=30 * tokens))  # as held, whatever a token adds
    assert value(roofline, "mbu", window) == pytest.approx((4000 + context * 30) * 4 / 0.07 / 1e6)
    assert value(roofline, "mfu", base) == pytest.approx(2 * 1000 * 40 / 0.3 / 1e6)


def test_a_row_that_drafts_has_no_share_of_a_step() -> None:
    """Several of its tokens come from one reading of the weights."""
    limits = {"memory_bytes_per_s": 1e6, "matmul_flop_per_s": 1e6}
    drafts = replace(BASE, ceilings=limits, speculated=Speculated(2, 8, 5, 1000, 1000))
    assert value(roofline, "mbu", replace(BASE, ceilings=limits)) is not None
    assert figure(roofline, "mbu", drafts) is None
    assert figure(roofline, "mfu", drafts) is not None
    assert set(roofline.worked(drafts, run_record(drafts))) == {"mfu"}
    on_gpu = replace(BASE, profile=StepProfile((), gpu_busy_ms=1.0))
    assert figure(device, "gpu_busy_share", on_gpu) is not None
    assert figure(device, "gpu_busy_share", replace(on_gpu, speculated=drafts.speculated)) is None


def test_no_ceilings_no_roofline() -> None:
    assert figure(roofline, "mbu") is None
    assert figure(roofline, "mfu") is None


# ---- comparisons -----------------------------------------------------------------------------------

PAIRS = pairs(*[([[100, 10, 10]], [[50, 15, 15]])] * 4)
EQUAL = pairs(*[([[9, 9]], [[9, 9]])] * 4)


def test_memory_on_a_gpu_is_compared_by_its_allocator() -> None:
    """The process's own memory says little there, and the driver's figure is of both workers."""
    on_gpu = {"peak_rss_bytes": 900, "peak_allocated_bytes": 4000, "peak_device_bytes": 90_000}
    base = replace(BASE, memory=MemoryPeaks(on_gpu, on_gpu))
    less = on_gpu | {"peak_allocated_bytes": 1000}
    variant = arm_record("v", solo=SOLO, memory=MemoryPeaks(less, less))
    assert compared(base, variant)["peak_allocated_bytes"].ratio == 0.25
    assert "peak_rss_bytes" not in compared(base, variant)
    assert "peak_rss_bytes" in compared(BASE, variant)


def compared(
    base: ArmRecord, variant: ArmRecord, units: Sequence[UnitRecord] = ()
) -> dict[str, comparisons.Comparison]:
    run = run_record(base, variant, units=units)
    return {row.metric: row for row in comparisons.compare(run, variant)}


def test_ratios_of_the_pairs_by_hand() -> None:
    found = compared(BASE, VARIANT, PAIRS)
    assert found["e2el_ms"].ratio == pytest.approx(80 / 120)
    assert found["ttft_ms"].ratio == pytest.approx(0.5)
    assert found["tpot_ms"].ratio == pytest.approx(1.5)
    assert found["output_throughput"].ratio == pytest.approx(120 / 80)
    assert found["cost_per_request_usd"].ratio == pytest.approx(80 / 120)
    assert found["cost_per_1k_tokens_usd"].ratio == pytest.approx(80 / 120)
    for metric in ratios.TIMED:
        one = found[metric.key]
        assert (one.design, one.pairs, one.pair_sd) == ("duet", 4, 0.0)
    assert (found["ttft_ms"].verdict, found["tpot_ms"].verdict) == ("better", "worse")
    # more tokens a second is better, though the ratio is above 1
    assert found["output_throughput"].verdict == "better"


def test_a_slower_variant_has_a_lower_throughput_that_is_worse() -> None:
    found = compared(BASE, VARIANT, pairs(*[([[10, 10]], [[20, 20]])] * 4))["output_throughput"]
    assert (found.ratio, found.verdict) == (0.5, "worse")


def test_the_interval_is_that_of_the_pairs() -> None:
    """Two slower and two faster pairs: the spread of the unit's sums, and the interval made of it."""
    units = pairs(*[([[100, 100]], [[100 + apart, 100]]) for apart in (-8, -4, 4, 8)])
    found = compared(BASE, VARIANT, units)["e2el_ms"]
    wanted = pair_ratio([192, 196, 204, 208], [200] * 4, SAME_KERNELS)
    assert (found.ratio, found.ci_low, found.ci_high) == (wanted.value, wanted.low, wanted.high)
    assert found.p == wanted.p == pytest.approx(1)  # before Holm's rule: a reader may have another rule
    assert found.pair_sd == wanted.sd == pytest.approx(math.sqrt((64 + 16) * 2 / 3) / 200)


@pytest.mark.parametrize(("steps", "more"), [([0.03, None, 0.04], 0.05), ([None], 0.0), ([], 0.0)])
def test_an_interval_holds_what_the_steps_of_a_row_say_of_repeated_runs(
    steps: Sequence[float | None], more: float
) -> None:
    evidence = tuple({"step": "quantise it", "checks": [], "between_runs_sd": sd} for sd in steps)
    variant = replace(VARIANT, optimise=("quantise it",), loaded=replace(loaded(), evidence=evidence))
    found = compared(BASE, variant, PAIRS)["e2el_ms"]
    wanted = pair_ratio([80] * 4, [120] * 4, replace(OTHER_KERNELS, between_runs=more))
    assert (found.ci_low, found.ci_high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_void_pairs_and_pairs_of_other_rows_do_not_count() -> None:
    wrong = pairs(([[1, 1]], [[99, 99]]), ([[1, 1]], [[99, 99]]))
    strangers = (
        replace(wrong[0], void="others had 20% of the processors"),
        replace(wrong[0], variant="w"),
        replace(wrong[1], group="batch_size=8"),
    )
    found, wanted = (compared(BASE, VARIANT, units) for units in ((*PAIRS, *strangers), PAIRS))
    for key, one in found.items():
        # A pair of another row has a process of the baseline, which counts in the baseline's dollars.
        assert replace(one, value_low=None, value_high=None) == replace(
            wanted[key], value_low=None, value_high=None
        )
    assert set(found) == set(wanted)


def test_a_value_is_the_baseline_s_times_the_ratio() -> None:
    found = compared(BASE, VARIANT, PAIRS)
    for module, metric in (
        (latency, latency.E2EL), (latency, latency.TTFT), (throughput, throughput.OUTPUT),
        (cost, cost.PER_1K), (cost, cost.PER_REQUEST),
    ):  # fmt: skip
        one, alone = found[metric.key], value(module, metric.key, BASE)
        assert alone is not None
        assert one.value == pytest.approx(alone * one.ratio)


def test_a_value_has_both_uncertainties() -> None:
    """±3 % of the baseline's figure and ±4 % of the ratio are ±5 % of the value."""
    figure = latency.E2EL.scalar(Interval(10.0, 10 * math.exp(-0.03), 10 * math.exp(0.03)))
    ratio = Interval(0.5, 0.5 * math.exp(-0.04), 0.5 * math.exp(0.04))
    found = comparisons.times(figure, ratio)
    assert found is not None
    assert found.value == 5
    assert found.low == pytest.approx(5 * math.exp(-0.05))
    assert found.high == pytest.approx(5 * math.exp(0.05))
    assert comparisons.times(None, ratio) is None
    unbounded = latency.E2EL.scalar(10.0)
    assert comparisons.times(unbounded, ratio) == Interval(5.0, None, None)
    assert comparisons.times(figure, Interval(0.5, None, None)) == Interval(5.0, None, None)


def test_twice_the_threads_at_the_same_speed_is_twice_the_cost() -> None:
    found = compared(BASE, replace(VARIANT, loaded=loaded(threads=4)), EQUAL)
    assert found["cost_per_request_usd"].ratio == pytest.approx(2)
    assert found["cost_per_request_usd"].verdict == "worse"
    assert found["e2el_ms"].verdict == "cannot tell"


def test_equal_arms_cannot_be_told_apart() -> None:
    found = compared(BASE, VARIANT, EQUAL)
    for metric in ratios.TIMED:
        assert found[metric.key].ratio == pytest.approx(1)
        assert found[metric.key].verdict == "cannot tell"


def slower_by(share: float, name: str) -> tuple[UnitRecord, ...]:
    """Four pairs about 1 % apart around this much more time."""
    return pairs(
        *[([[5000] * 2], [[round(5000 * (1 + share + by))] * 2]) for by in (-0.01, -0.005, 0.005, 0.01)],
        variant=name,
    )


def said(*shares: float) -> list[str]:
    names = [f"v{place}" for place in range(len(shares))]
    arms = [replace(VARIANT, name=name) for name in names]
    units = [unit for name, share in zip(names, shares, strict=True) for unit in slower_by(share, name)]
    found = comparisons.compare_all(run_record(BASE, *arms, units=units))
    return [one.verdict for one in found if one.metric == "cost_per_request_usd"]


def test_a_verdict_is_among_all_rows_of_the_run() -> None:
    """1.8 % is told from nothing in a table of its own, where its interval is all that counts; among twelve
    rows it takes more, and beside eleven rows that differ clearly it is the only question left."""
    p = pair_ratio([10_080, 10_130, 10_230, 10_280], [10_000] * 4, SAME_KERNELS).p
    assert 0.02 / 12 < p < 0.02
    assert said(0.018) == ["worse"]
    assert said(0.018, *[0.0] * 11) == ["cannot tell"] * 12
    assert said(0.018, *[0.5] * 11) == ["worse"] * 12


@pytest.mark.parametrize("outcome", [one for one in Outcome if one != Outcome.OK])
def test_a_row_that_did_not_end_well_has_no_ratio(outcome: Outcome) -> None:
    """Nor is it among the rows that the others are judged with."""
    failed = replace(VARIANT, status=str(outcome))
    assert compared(BASE, failed, PAIRS) == compared(BASE, failed) == {}
    rows = [replace(VARIANT, name="good"), *[replace(failed, name=f"bad{i}") for i in range(11)]]
    units = [unit for row in rows for unit in slower_by(0.018, row.name)]
    found = comparisons.compare_all(run_record(BASE, *rows, units=units))
    assert {one.variant for one in found} == {"good"}
    assert {one.verdict for one in found if one.metric == "cost_per_request_usd"} == {"worse"}


def test_metrics_are_judged_apart() -> None:
    """Time to the first token differs, time per token does not: one does not make the other stricter."""
    found = compared(BASE, VARIANT, pairs(*[([[100, 50]], [[50, 50]])] * 4))
    assert (found["ttft_ms"].verdict, found["tpot_ms"].verdict) == ("better", "cannot tell")


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.5, 0.4, 0.6), "better"),
        (Interval(0.9, 0.8, 1.0), "cannot tell"),
        (Interval(1.0, 0.9, 1.1), "cannot tell"),
        (Interval(1.2, 1.01, 1.4), "worse"),
        (Interval(0.01, None, None), "cannot tell"),
    ],
)
def test_a_verdict_needs_the_whole_interval(interval: Interval, expected: str) -> None:
    assert verdict_of(interval) == expected


def test_a_single_pair_rests_on_what_is_known_of_others() -> None:
    """It has an interval, ±3.5 %, and can tell what is far outside it."""
    (small,), (large,) = pairs(([[500] * 2], [[485] * 2])), pairs(([[500] * 2], [[300] * 2]))
    near, far = (compared(BASE, VARIANT, (one,))["e2el_ms"] for one in (small, large))
    assert (near.verdict, far.verdict) == ("cannot tell", "better")
    assert (near.pairs, near.pair_sd) == (1, None)
    assert near.ci_high == pytest.approx(0.97 * math.exp(0.0353), rel=1e-4)


def test_without_a_duet_the_solo_passes_and_a_wider_interval() -> None:
    batches = [
        tuple(timed_batch(0, [ms / 2, ms], ms, [10], [[1, 2]]) for ms in times)
        for times in ((100, 101, 99, 100, 102, 98), (50, 51, 49, 50, 52, 48))
    ]
    row = compared(replace(BASE, solo=batches[0]), replace(VARIANT, solo=batches[1]))[
        "cost_per_1k_tokens_usd"
    ]
    assert row.design == "solo"
    assert row.ratio == pytest.approx(0.5)
    assert row.ci_low is not None
    assert row.ci_low < 0.5 * math.exp(-1.96 * 0.05)


def test_nothing_to_compare_with() -> None:
    variant = VARIANT
    assert comparisons.compare(run_record(variant, units=PAIRS), variant) == []
    assert comparisons.compare(run_record(replace(BASE, solo=()), variant, units=PAIRS), variant) == []
    assert comparisons.compare(run_record(BASE), BASE) == []
    other_cell = replace(variant, group="batch_size=8")
    assert comparisons.compare(run_record(BASE, other_cell), other_cell) == []


# ---- figures as such -------------------------------------------------------------------------------


def with_everything(run: RunRecord) -> RunRecord:
    """The same run with what not every run has: limits of a good request, characters and ends of answers."""
    arms = tuple(replace(arm, characters=(400, 100), answers=()) for arm in run.arms)
    return replace(run, arms=arms, spec={**run.spec, "slo": {"ttft_ms": 500.0}})


def test_missing_is_none_in_every_family() -> None:
    """An arm that failed before anything was measured: no figure at all, and not one zero."""
    empty = arm_record("v", status="load_error", loaded=None, warm_up=None, prompts_digest=None, end_ids=())
    # Else it has none of the figures of servers, and none of those of encoders.
    empty = replace(empty, server={"target": "vllm"}, runtime={"task": "embedding"})
    run = with_everything(run_record(BASE, empty))
    for family in families():
        found = family.figures(run.arms[-1], run)
        assert set(found) == {metric.key for metric in family.METRICS}
        assert set(found.values()) == {None}


def test_every_key_has_one_definition() -> None:
    keys = [metric.key for family in families() for metric in family.METRICS]
    assert len(keys) == len(set(keys)) == len(all_metrics())
    assert {metric.key for metric in output_drift.METRICS} < drift_keys() < set(keys)
    for metric in all_metrics().values():
        assert metric.unit
        assert metric.formula
        assert metric.better in ("lower", "higher", None)


def test_a_figure_carries_its_definition() -> None:
    metric = Metric("speed", "tok/s", "higher", "n/t", "")
    found = metric.scalar(3.0)
    assert found == Figure("tok/s", True, "n/t", 3.0)
    assert found is not None
    assert found.to_json() == {
        "unit": "tok/s", "higher_is_better": True, "formula": "n/t", "value": 3.0,
        "ci_low": None, "ci_high": None,
    }  # fmt: skip
    assert metric.scalar(None) is None
    assert metric.scalar(0.0) is not None
    assert metric.distribution([]) is None
    assert value_of(metric.distribution([1.0, 2.0])) == 1.5
    assert value_of(None) is None


def test_the_price_of_the_tests_is_a_price() -> None:
    block = {key: text for key, text in run_record().price.items() if key != "utilisation"}
    assert parse_price(block, "test").hourly_usd == 0.36


# ---- the whole summary -----------------------------------------------------------------------------


def test_a_summary_is_json_and_the_same_every_time() -> None:
    run = with_everything(run_record(replace(BASE, energy=ENERGY, floor=(FLOOR,)), VARIANT, units=PAIRS))
    found = summarise(run).to_json()
    assert json.dumps(found, allow_nan=False) == json.dumps(summarise(run).to_json(), allow_nan=False)
    assert found["status"] == "ok"
    assert [row["name"] for row in found["variants"]] == ["baseline", "v"]
    of_encoders = {metric.key for metric in encoded.METRICS}
    expected = set(all_metrics()) - {metric.key for metric in under_load.METRICS} - of_encoders
    assert set(found["variants"][1]["metrics"]) | set(found["variants"][1]["drift"]) == expected
    assert set(found["variants"][1]["drift"]) == drift_keys() - of_encoders


@pytest.mark.parametrize("outcome", [one for one in Outcome if one not in (Outcome.OK, Outcome.UNSUPPORTED)])
def test_a_failed_row_makes_the_run_partial(outcome: Outcome) -> None:
    failed = arm_record("v", status=str(outcome), reason="because", loaded=None, warm_up=None)
    found = summarise(run_record(BASE, failed)).to_json()
    assert found["status"] == "partial"
    assert found["reasons"] == [f"v: {outcome}: because"]
    assert found["variants"][1]["reason"] == "because"
    assert found["comparisons"] == []


def test_a_run_without_a_baseline_is_invalid() -> None:
    broken = replace(BASE, status="oom_host", reason="too large", solo=())
    found = summarise(run_record(broken, VARIANT)).to_json()
    assert found["status"] == "invalid"
    assert "no baseline was measured" in found["reasons"][-1]
    assert summarise(run_record()).to_json()["status"] == "invalid"


def test_quantised_weights_on_a_grid_are_told() -> None:
    on = {**BASE.model, "name": "mine", "grid": asdict(grid_of("Q4_1"))}
    rows = replace(BASE, model=on), replace(VARIANT, model=on, optimise=("quantise torch-int4",))
    found = summarise(run_record(*rows)).to_json()
    assert found["status"] == "ok"
    assert found["reasons"][0].startswith("the weights of mine were dequantised from Q4_1")
    assert summarise(run_record(rows[0], VARIANT)).to_json()["reasons"] == []
    assert found["model"]["grid"]["levels"] == 16


def test_a_run_that_was_cut_short_says_so() -> None:
    found = summarise(replace(run_record(BASE), finished_utc=None)).to_json()
    assert found["status"] == "partial"
    assert "--resume" in found["reasons"][0]


def test_a_warm_up_that_never_was_steady_is_told() -> None:
    arm = replace(BASE, warm_up=WarmUp((9.0, 5.0, 9.0), False, 9.0))
    assert summarise(run_record(arm)).to_json()["variants"][0]["warm_up"] == {
        "durations_ms": [9, 5, 9],
        "steady": False,
    }
