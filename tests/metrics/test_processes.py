"""What the processes of a row say of an absolute figure, by hand."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import pytest
from fakes import arm_record, pairs, run_record, timed_batch, unit

from bench.metrics import cost, latency, processes, throughput
from bench.records import ColdStart, Sides, UnitRecord
from bench.stats.figure import Figure
from bench.stats.intervals import mean_interval, t_quantile, widened

# Two batches alone: 100 ns and 200 ns.
SOLO = tuple(timed_batch(0, [ms / 2, ms], ms, [10], [[1, 2]]) for ms in (1e-4, 2e-4))
BASE, V = arm_record(solo=SOLO), arm_record("v", solo=SOLO)
# Decoded by three pairs; the variant's processes took 1.1, 1.0 and 0.9 of what it took alone.
UNITS = (
    unit([[60, 42]], [[60, 50]], number=1, batches=(0,)),
    unit([[150, 48]], [[150, 50]], number=2, batches=(1,)),
    unit([[50, 50], [100, 100]], [[45, 45], [90, 90]], number=3, batches=(0, 1)),
)
OF_V = t_quantile(2) * statistics.stdev([math.log(1.1), 0.0, math.log(0.9)])
OF_BASE = t_quantile(2) * statistics.stdev([math.log(1.02), math.log(0.99), 0.0])


def test_the_spread_of_a_variant_s_processes() -> None:
    assert processes.half_width(V, run_record(BASE, V, units=UNITS)) == pytest.approx(OF_V)


def test_the_baseline_has_a_process_in_every_pair() -> None:
    """Of its own cell, beside whichever variant."""
    assert processes.half_width(BASE, run_record(BASE, V, units=UNITS)) == pytest.approx(OF_BASE)
    others = (replace(UNITS[0], variant="w"), *UNITS[1:])
    assert processes.half_width(BASE, run_record(BASE, V, units=others)) == pytest.approx(OF_BASE)
    assert processes.half_width(V, run_record(BASE, V, units=others)) == pytest.approx(
        t_quantile(1) * statistics.stdev([0.0, math.log(0.9)])
    )


def test_void_pairs_and_other_cells_say_nothing() -> None:
    more = (
        replace(UNITS[0], number=4, variant_ns=((9000, 1),), void="busy"),
        replace(UNITS[0], number=5, variant_ns=((9000, 1),), group="cell"),
    )
    assert processes.half_width(V, run_record(BASE, V, units=(*UNITS, *more))) == pytest.approx(OF_V)


def test_fewer_than_two_processes_have_no_spread() -> None:
    assert processes.half_width(V, run_record(BASE, V)) == 0.0
    assert processes.half_width(V, run_record(BASE, V, units=UNITS[:1])) == 0.0
    assert processes.half_width(replace(V, solo=()), run_record(BASE, V, units=UNITS)) == 0.0


def test_a_batch_that_was_not_measured_alone_is_left_out() -> None:
    """A pass alone that was cut short, or an old journal with batches numbered over several rounds."""
    beyond = replace(UNITS[2], batches=(0, 2))
    assert processes.half_width(V, run_record(BASE, V, units=(*UNITS[:2], beyond))) == pytest.approx(
        t_quantile(1) * statistics.stdev([math.log(1.1), 0.0])
    )


def test_every_absolute_time_knows_of_it() -> None:
    """Latency is as wide as requests and processes together make it; throughput and dollars, which are of the
    whole pass, are as wide as the processes make them."""
    solo = tuple(timed_batch(0, [ms * 0.6, ms], ms, [10], [[1, 2]]) for ms in (100, 104, 96, 101, 99))
    unit_ns = [round(100e6 * share) for share in (1.05, 1.0, 0.95)]
    units = pairs(*[([[ns // 2, ns // 2]], [[ns // 2, ns // 2]]) for ns in unit_ns])
    arm, run = replace(V, solo=solo), run_record(replace(BASE, solo=solo), V, units=units)
    half = processes.half_width(arm, run)
    assert half == pytest.approx(t_quantile(2) * 0.05, rel=0.01)
    wanted = widened(mean_interval([0.1, 0.104, 0.096, 0.101, 0.099]), half)
    assert wanted.low is not None
    assert wanted.high is not None
    e2el = latency.figures(arm, run)["e2el_ms"]
    assert e2el is not None
    assert (e2el.ci_low, e2el.ci_high) == pytest.approx((wanted.low * 1e3, wanted.high * 1e3))
    for module, key in ((throughput, "output_throughput"), (cost, "cost_per_request_usd")):
        figure = module.figures(arm, run)[key]
        assert figure is not None
        assert figure.ci_low is not None
        assert figure.ci_high is not None
        shares = [bound / figure.value for bound in (figure.ci_low, figure.ci_high)]
        assert shares == pytest.approx([math.exp(-half), math.exp(half)])
    plain = latency.figures(arm, run_record(BASE, V))["e2el_ms"]
    assert plain is not None
    assert plain.ci_high is not None
    assert e2el.ci_high is not None
    assert plain.ci_high < e2el.ci_high


@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("between", [0.003, 0.05])
def test_the_interval_of_dollars_covers_the_mean_over_processes(count: int, between: float) -> None:
    """In 1,000 simulated runs whose processes and requests vary: 95 % within 2 percentage points."""
    noise = random.Random(11)
    usd_per_s = 0.36 * 0.5 / 3600
    covered = 0
    for _ in range(1000):
        solo, sent = [], 0.0
        luck = math.exp(noise.gauss(0, between))
        for _request in range(6):
            took = 100 * luck * math.exp(noise.gauss(0, 0.02))
            solo.append(timed_batch(sent, [sent + took / 2, sent + took], sent + took, [10], [[1, 2]]))
            sent += took
        units = []
        for number in range(count):
            luck = math.exp(noise.gauss(0, between))
            turns = [[round(100e6 * luck * math.exp(noise.gauss(0, 0.02)))] for _request in range(6)]
            units.append(unit(turns, turns, number=number + 1))
        arm = replace(BASE, solo=tuple(solo))
        figure: Figure | None = cost.figures(arm, run_record(arm, V, units=units))["cost_per_request_usd"]
        assert figure is not None
        assert figure.ci_low is not None
        assert figure.ci_high is not None
        truth = usd_per_s * 0.1 * math.exp((between**2 + 0.02**2) / 2)
        covered += figure.ci_low <= truth <= figure.ci_high
    assert 0.93 <= covered / 1000 <= 0.97


def starting(*seconds: float) -> tuple[UnitRecord, ...]:
    """Pairs whose variant took so long to load, and its baseline twice as long."""
    return tuple(
        replace(UNITS[0], number=number, cold=Sides(ColdStart(2 * load_s, 20.0), ColdStart(load_s, 10.0)))
        for number, load_s in enumerate(seconds, 1)
    )


def test_a_cold_start_has_the_bounds_of_five_processes() -> None:
    units = starting(1.0, 1.1, 0.9, 1.2, 1.0)
    run = run_record(BASE, V, units=units)
    half = t_quantile(4) * statistics.stdev(map(math.log, (1.0, 1.1, 0.9, 1.2, 1.0)))
    for arm in (V, BASE):
        found = latency.figures(arm, run)["load_s"]
        assert found is not None
        assert arm.loaded is not None
        assert found.value == arm.loaded.load_s, "its own process's"
        assert (found.ci_low, found.ci_high) == pytest.approx(
            (found.value * math.exp(-half), found.value * math.exp(half))
        )
    four = latency.figures(V, run_record(BASE, V, units=units[:4]))["load_s"]
    assert four is not None
    assert (four.ci_low, four.ci_high) == (None, None)
