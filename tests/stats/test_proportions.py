"""Shares and paired shares: against scipy, against the formulas written another way, and by simulation."""

from __future__ import annotations

import math
import random

import pytest
from scipy.stats import binomtest, multinomial

from bench.stats.proportions import GAINED, least_change, mcnemar, paired_difference, wilson

COUNTS = ((0, 10), (1, 10), (5, 10), (10, 10), (63, 200), (199, 200), (240, 240))


@pytest.mark.parametrize(("right", "n"), COUNTS)
def test_one_share_is_that_of_scipy(right: int, n: int) -> None:
    found, theirs = wilson(right, n), binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert found.value == right / n
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (6, 0), (0, 5), (7, 3), (40, 20), (12, 12)])
def test_mcnemar_is_the_binomial_test_of_scipy(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-12)


def test_a_paired_difference_is_that_of_newcombes_paper() -> None:
    # Newcombe 1998 (Statist. Med. 17:2635), table III, method 10, the data of line (b): 36, 12, 2, 0 of 50.
    found = paired_difference(36, 2, 12, 0)
    assert found.value == pytest.approx(0.20)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_nothing_changed_still_has_a_width_that_shrinks_with_the_items() -> None:
    widths = [paired_difference(n // 2, 0, 0, n // 2) for n in (50, 200, 800)]
    assert all(one.value == 0 and one.low is not None and one.low < 0 for one in widths)
    assert [one.high for one in widths] == sorted((one.high or 0.0 for one in widths), reverse=True)


def test_the_interval_of_a_difference_covers_the_truth() -> None:
    rng, inside, trials = random.Random(1), 0, 1500
    kept, lost, gained = 0.55, 0.10, 0.05
    for _ in range(trials):
        cells = rng.choices(range(4), (kept, lost, gained, 1 - kept - lost - gained), k=200)
        found = paired_difference(*(cells.count(cell) for cell in range(4)))
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= gained - lost <= found.high
    assert 0.93 <= inside / trials <= 0.98


@pytest.mark.parametrize(("right", "n"), [(120, 200), (200, 200), (40, 240)])
def test_the_least_change_is_found_with_the_power_that_is_promised(right: int, n: int) -> None:
    change = least_change(right, n, 0.8)
    assert change is not None
    lost = round(change * n / (1 - GAINED))

    def power(lose: int) -> float:
        """All pairs of counts, weighted by their trinomial chance."""
        shares = (lose / n, GAINED * lose / n, 1 - (1 + GAINED) * lose / n)
        return math.fsum(
            float(multinomial.pmf([down, up, n - down - up], n, shares))
            for down in range(min(3 * lose, n) + 1)
            for up in range(min(down, n - down) + 1)
            if mcnemar(down, up) <= 0.05
        )

    assert power(lost) >= 0.8 > power(lost - 1)


def test_too_few_right_items_can_show_no_loss() -> None:
    assert least_change(22, 200, 0.8) is None
    assert least_change(23, 200, 0.8) == pytest.approx(0.7 * 23 / 200)
    assert least_change(10, 5000, 0.8) is None


def test_many_items_need_no_count() -> None:
    """The approximation is Connor's; the exact count asks for two items more."""
    counted, approximated = least_change(1000, 2000, 0.8), least_change(1000, 2001, 0.8)
    assert counted == pytest.approx(0.7 * 23 / 2000)
    assert approximated == pytest.approx(0.7 * 21 / 2001)
