"""A sum that is rounded after each addition, in every Python."""

from __future__ import annotations

from bench.stats.plain_sum import plain_sum


def test_each_addition_is_rounded() -> None:
    assert plain_sum([1e16, 1.0, -1e16]) == 0.0, "sum gives 1.0 from Python 3.12 on"
    assert plain_sum([0.1] * 10) == 0.9999999999999999
    assert plain_sum(iter([0.5, 2])) == 2.5


def test_whole_numbers_stay_whole() -> None:
    """1 and 1.0 have different digests."""
    assert repr(plain_sum([2, 3])) == "5"
    assert repr(plain_sum([])) == "0"
