"""Pages of runs with as many rows, and as long names, as a run may have: made in little time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sample import baseline, figure, ratio, run, summary, variant

from bench.drift.suites.factuality import SUITE
from bench.metrics import cascade_curve, latency, throughput
from bench.report import interactivity, quality_picture
from bench.report.kernel_names import MOST_LETTERS, short
from bench.report.label_places import MOST_NAMES, names_beside
from bench.stats.proportions import wilson

MOST_S = 3.0
MANY = 900


def answered(row: dict[str, Any], right: int) -> dict[str, Any]:
    row["metrics"] |= {SUITE.accuracy.key: figure(SUITE.accuracy.scalar(wilson(right, 1000), n=1000))}
    return row


def test_a_picture_of_quality_with_hundreds_of_rows() -> None:
    curve = [[-0.1, 0.0, 1.0, 0.4, 1.0], [-2.0, 1.0, 4.0, 0.8, 3.0]]
    gap = cascade_curve.GAP.scalar(0.4, suite="factuality", n=100, curve=curve, here=curve[0])
    rows = [answered(baseline(), 800), *(answered(variant(f"v{n}"), n) for n in range(MANY))]
    rows[1]["metrics"] |= {cascade_curve.GAP.key: figure(gap)}
    ratios = [ratio(f"v{n}", 2.0 - n / MANY, None, None, "cannot tell") for n in range(MANY)]
    began = time.process_time()
    found = quality_picture.picture(summary(run(rows, ratios)), "")
    assert time.process_time() - began < MOST_S
    assert found is not None
    named = [mark.label.text for mark in found.marks if mark.label.text]
    assert 0 < len(named) <= MOST_NAMES
    assert "baseline" in named


def test_a_picture_of_a_sweep_with_hundreds_of_variants() -> None:
    rows = []
    for cell in ("users=1", "users=2"):
        for n in range(MANY // 2):
            made = variant(f"v{n}", group=cell)
            made["metrics"] |= {
                latency.TPOT.key: figure(latency.TPOT.distribution([20.0 + n] * 3)),
                throughput.OUTPUT.key: figure(throughput.OUTPUT.scalar(50.0)),
            }
            rows.append(made)
    began = time.process_time()
    found = interactivity.picture(summary(run(rows, [])))
    assert time.process_time() - began < MOST_S
    assert found is not None
    assert sum(bool(mark.label.text) for mark in found.marks) <= MOST_NAMES


def test_all_of_a_few_names_then_the_notable_ones() -> None:
    names = [f"n{number}" for number in range(MOST_NAMES + 1)]
    some = [number < 3 for number in range(len(names))]
    every = [True] * len(names)
    assert names_beside(names[:MOST_NAMES], some) == names[:MOST_NAMES]
    assert [one for one in names_beside(names, some) if one] == names[:3]
    assert [one for one in names_beside(names, every, some) if one] == names[:3]
    assert not any(names_beside(names, every))


@pytest.mark.parametrize(
    "name",
    ["elementwise_kernel" + "a" * 200_000, "reduce_kernel ReduceOp" + "a" * 200_000, "Marlin" * 40_000,
     "triton_poi_" + "1" * 200_000, "cub::" * 50_000, "gemv" * 50_000, "gem" + "A1W1" * 50_000],
)  # fmt: skip
def test_a_kernel_with_a_name_without_end(name: str) -> None:
    """Some of the patterns take time with the square of a name."""
    began = time.process_time()
    assert short(name)
    assert time.process_time() - began < MOST_S
    assert short(name) == short(name[:MOST_LETTERS])
