"""pytest-benchmark's fields, by hand: quartiles of a normal distribution, clipped to what was measured."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import unit
from scipy.stats import norm

from bench.report.formats.pytest_benchmark import QUARTILE_SD, _side_ms, _stats
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
