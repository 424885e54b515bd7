"""Add floats one after the other, so that a figure has the same last digit in every Python."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add


def plain_sum(values: Iterable[float]) -> float:
    """Return the sum, rounded after each addition.

    So does ``sum`` up to Python 3.11. From 3.12 on it keeps what floats lose, and a figure of a run of 3.11
    has another last digit: ``bench verify``, which wants them equal, refused such a run. Of whole numbers
    ``sum`` is exact.
    """
    return reduce(add, values, 0)
