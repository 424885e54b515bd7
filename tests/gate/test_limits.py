"""Which limits can never be judged: figures that no run gives bounds to are refused, and no others."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import pytest

from bench.gate.figures import judge_interval
from bench.gate.findings import GateVerdict
from bench.gate.limits import MEASURED_ONCE, Rule, never_judged, rules, timed_cells
from bench.metrics import all_metrics
from bench.results.summary import from_journal
from bench.stats.intervals import Interval

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


@pytest.mark.parametrize("name", ["quickstart", "pruning-distillation"])
def test_what_is_measured_once_has_no_bounds(name: str) -> None:
    run = from_journal(REFERENCE / name)
    figures = [(key, one) for row in run.rows for key, one in row.figures() if one is not None]
    assert MEASURED_ONCE & {key for key, _one in figures}, "nothing was tested"
    assert not MEASURED_ONCE & {key for key, one in figures if one.ci_low is not None}


def test_every_name_is_a_metric() -> None:
    assert all_metrics().keys() >= MEASURED_ONCE


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("metric", sorted(MEASURED_ONCE))
def test_they_are_refused_beforehand(metric: str, relative: bool) -> None:
    found = never_judged(metric, relative, True, (), good=True)
    assert found is not None
    assert "has no interval" in found[0]


@pytest.mark.parametrize("metric", ["load_s", "first_request_ms", "e2el_ms", "good_fraction"])
def test_what_has_bounds_is_not(metric: str) -> None:
    assert never_judged(metric, False, True, (), good=True) is None


def test_a_rate_of_good_requests_is_bounded_for_servers_alone() -> None:
    assert never_judged("request_goodput", False, True, (), good=True) == (
        "it is measured once and has no interval, so a change cannot be told from chance",
        "limit good_fraction",
    )
    assert never_judged("request_goodput", False, False, (), good=True, served=True) is None


def test_a_widened_interval_of_a_time_stays_above_zero() -> None:
    """Fifty rules share the error; on the plain scale the lower bound would be −0.34 s."""
    found = judge_interval(Rule("load_s", "min", 0.01), ("", "v"), Interval(1.0, 0.2, 5.0), cells=50)
    wider = NormalDist().inv_cdf(1 - 0.025 / 50) / NormalDist().inv_cdf(0.975)
    assert found.low == pytest.approx(0.2**wider)
    assert found.verdict == GateVerdict.PASS


def test_cells_are_limits_on_times_by_rows() -> None:
    limits = {"e2el_ms": {"max_increase": "5%"}, "ttft_ms": {"max_increase": 0.1}, "kld_p99": {"max": 0.1}}
    assert timed_cells(list(rules(limits)), 3) == 2 * 3


@pytest.mark.parametrize(
    "key", ["activations_saturated", "changed_in_batch", "changed_between_runs", "weights_bytes"]
)
def test_what_is_counted_needs_no_bounds(key: str) -> None:
    assert Rule(key, "max", 0).counted
    assert never_judged(key, False, True, (), good=True) is None
    assert not Rule("activation_reach", "max", 1).counted
