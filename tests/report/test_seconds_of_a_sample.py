"""pytest-benchmark's fields, by hand: quartiles of a normal distribution, clipped to what was measured."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import unit
from scipy.stats import norm

from bench.gate.findings import Finding, GateVerdict
from bench.report.formats.pytest_benchmark import QUARTILE_SD, _of_rule, _side_ms, _stats
from bench.stats.intervals import Distribution


def sample(**more: Any) -> Distribution:
    known: dict[str, Any] = {
        "n": 20, "mean": 102.0, "sd": 10.0, "min": 50.0, "max": 150.0, "p50": 100.0, "p90": None, "p95": None,
        "p99": None, "ci_low": 98.0, "ci_high": 106.0,
    }  # fmt: skip
    return Distribution(**{**known, **more})


def test_a_quarter_of_a_normal_distribution_is_below_the_first_quartile() -> None:
    assert norm.cdf(-QUARTILE_SD) == pytest.approx(0.25, abs=1e-4)


def test_milliseconds_become_seconds() -> None:
    found = _stats(sample())
    assert (found["min"], found["max"], found["mean"], found["median"]) == (0.05, 0.15, 0.102, 0.1)
    assert (found["stddev"], found["rounds"], found["iterations"]) == (0.01, 20, 1)
    assert (found["q1"], found["q3"]) == pytest.approx((0.1 - 0.006745, 0.1 + 0.006745))
    assert found["iqr"] == pytest.approx(0.01349)
    assert found["ld15iqr"] == pytest.approx(found["q1"] - 1.5 * found["iqr"])
    assert found["hd15iqr"] == pytest.approx(found["q3"] + 1.5 * found["iqr"])
    assert (found["ops"], found["total"]) == pytest.approx((1 / 0.102, 2.04))


def test_nothing_is_beyond_what_was_measured() -> None:
    found = _stats(sample(min=99.0, max=101.0))
    assert (found["q1"], found["ld15iqr"]) == (0.099, 0.099)
    assert (found["q3"], found["hd15iqr"]) == (0.101, 0.101)


def test_one_sample_has_no_spread() -> None:
    found = _stats(sample(n=1, sd=None, mean=0.0, min=0.0, max=0.0, p50=0.0))
    assert (found["stddev"], found["iqr"], found["ops"]) == (0.0, 0.0, None)


def test_a_side_of_a_unit_is_the_sum_of_its_turns() -> None:
    one = unit([[1_000_000, 2_000_000], [3_000_000]], [[500_000], [250_000]])
    assert _side_ms(one, base=True) == 6.0
    assert _side_ms(one, base=False) == 0.75


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [(0.9, 1.2, 0.9, 1.2), (None, 1.2, 1.1, 1.2), (0.9, None, 0.9, 1.1), (None, None, 1.1, 1.1)],
)
def test_a_rule_is_a_benchmark_with_its_bounds(
    low: float | None, high: float | None, least: float, most: float
) -> None:
    """A bound that is not known is the figure itself."""
    rule = Finding(
        "ttft_ms max_increase 3 %", "ttft_ms", "", "v", "interval", GateVerdict.PASS, "within", 1.1,
        low, high, 0.95,
    )  # fmt: skip
    run: Any = SimpleNamespace(name="n", run_id="r", gate=None)
    found = _of_rule(run, rule, 1.1)["stats"]
    assert (found["min"], found["max"], found["mean"], found["rounds"]) == (least, most, 1.1, 1)
    assert found["total"] == 1.1
    many = _of_rule(run, replace(rule, units=12), 1.1)["stats"]
    assert (many["rounds"], many["total"], many["ops"]) == pytest.approx((12, 13.2, 1 / 1.1))
