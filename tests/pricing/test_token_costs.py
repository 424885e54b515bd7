"""A price for each token in and out, from whole workloads: planted prices are found again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.pricing.token_costs import Cell, split_by_workloads

MIXES = ((1000, 100), (500, 500), (100, 1000), (2000, 300))
USD = st.floats(1e-9, 1e-3)


@settings(deadline=None)
@given(input_usd=USD, output_usd=USD)
def test_exact_costs_give_the_prices_back(input_usd: float, output_usd: float) -> None:
    cells = [Cell(n_in * input_usd + n_out * output_usd, n_in, n_out) for n_in, n_out in MIXES]
    found = split_by_workloads(cells)
    assert found.input_usd == pytest.approx(input_usd, rel=1e-6, abs=1e-15)
    assert found.output_usd == pytest.approx(output_usd, rel=1e-6, abs=1e-15)
    assert found.residual < 1e-6


def test_noisy_costs_give_them_back_within_2_percent() -> None:
    """1 % of noise on each of 24 workloads, twenty times: on average and in nearly all cases."""
    noise = random.Random(7)
    worst = []
    for _ in range(20):
        cells = [
            Cell((n_in * 1e-7 + n_out * 8e-7) * noise.gauss(1, 0.01), n_in, n_out)
            for n_in, n_out in MIXES * 6
        ]
        found = split_by_workloads(cells)
        worst.append(max(abs(found.input_usd / 1e-7 - 1), abs(found.output_usd / 8e-7 - 1)))
        assert 0.003 < found.residual < 0.03
    assert sum(error < 0.02 for error in worst) >= 18
    assert sum(worst) / len(worst) < 0.015


def test_the_parts_add_up_to_the_whole() -> None:
    cells = [Cell(usd, n_in, n_out) for usd, (n_in, n_out) in zip((3, 5, 8, 6), MIXES, strict=True)]
    found = split_by_workloads(cells)
    parts = sum(found.input_usd * cell.input_tokens + found.output_usd * cell.output_tokens for cell in cells)
    assert parts == pytest.approx(22)
    assert found.input_usd >= 0
    assert found.output_usd >= 0
    assert found.residual > 0.04


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([Cell(1, 1, 1)] * 2, "needs 3 workloads, and there are 2"),
        ([Cell(1, 10, 10), Cell(2, 20, 20), Cell(3, 33, 30)], "nearly the same ratio"),
    ],
)
def test_what_cannot_be_split(cells: list[Cell], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        split_by_workloads(cells)


@pytest.mark.parametrize(
    "bad", [(0, 1, 1), (1, 0, 1), (1, 1, -1), (float("inf"), 1, 1), (float("nan"), 1, 1)]
)
def test_a_workload_has_a_cost_and_tokens(bad: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        Cell(*bad)
