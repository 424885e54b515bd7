"""MLPerf's early-stopping rule against the table of its policies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.early_stopping import cannot_hold, least_requests, within
from bench.stats.intervals import ENOUGH_FOR

OVER = (0, 1, 2, 5, 10)
TABLE = {
    0.50: (7, 11, 14, 22, 35),
    0.90: (44, 64, 81, 127, 197),
    0.95: (90, 130, 165, 259, 398),
    0.97: (152, 219, 277, 433, 667),
    0.99: (459, 662, 838, 1307, 2010),
    0.999: (4603, 6636, 8403, 13105, 20140),
}


@pytest.mark.parametrize("share", TABLE)
def test_the_table_of_the_rule(share: float) -> None:
    assert tuple(least_requests(share, over) for over in OVER) == TABLE[share]


def test_the_counts_for_percentiles_are_those_of_the_rule() -> None:
    assert {p: least_requests(p / 100, 1) for p in ENOUGH_FOR} == ENOUGH_FOR


@given(st.sampled_from([0.5, 0.9, 0.99]), st.integers(0, 40), st.integers(1, 3000))
def test_no_load_both_holds_and_is_refuted(share: float, over: int, requests: int) -> None:
    over = min(over, requests)
    assert not (within(share, over, requests) and cannot_hold(share, over, requests))
    assert not within(share, over, requests) or within(share, over, requests + 1)


def test_many_bad_requests_refute_a_share() -> None:
    assert cannot_hold(0.9, 30, 100)
    assert not cannot_hold(0.9, 12, 100)
    assert not cannot_hold(0.9, 0, 1)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="no share"):
        least_requests(share, 0)
