"""Estimate how long a matrix product takes for a number of rows, from measurements at several sizes.

A product with few rows is limited by reading its weights, one with many rows by arithmetic, and in between an
engine uses different kernels. Two ceilings do not describe a prompt of 128 tokens, or an expert that gets
eight tokens. So the time is measured at several rows and widths, and interpolated.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import UsageError


@dataclass(frozen=True)
class Products:
    """The seconds per weight of a matrix, measured for every pair of ``widths`` and ``rows``.

    The width of a matrix is the square root of its number of weights. ``seconds`` has one tuple for each
    width, with one value for each number of rows. Raises UsageError unless both axes rise and all times are
    above 0.
    """

    widths: tuple[int, ...]
    rows: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        axes = (self.widths, self.rows)
        rising = all(axis and list(axis) == sorted(set(axis)) and axis[0] > 0 for axis in axes)
        whole = len(self.seconds) == len(self.widths) and all(
            len(line) == len(self.rows) for line in self.seconds
        )
        if not rising or not whole or any(not 0 < s < math.inf for line in self.seconds for s in line):
            raise UsageError("products need a time above 0 for every width and every number of rows")

    def weight_s(self, width: float, rows: float) -> float:
        """Return the seconds per weight of a matrix of ``width`` that is multiplied with ``rows``.

        Between measured points the logarithms are interpolated linearly. Outside the measured widths and
        below the measured rows the nearest point is used. Above the measured rows the time is proportional to
        the rows.
        """
        at_rows = [between(self.rows, line, min(rows, self.rows[-1])) for line in self.seconds]
        return between(self.widths, at_rows, width) * max(rows / self.rows[-1], 1.0)


def between(axis: Sequence[int], values: Sequence[float], at: float) -> float:
    """Interpolate a value that was measured at some points of an axis: linearly in logarithms, and constant
    outside the axis."""
    right = min(max(bisect_left(axis, at), 1), len(axis) - 1)
    if len(axis) == 1 or not axis[0] < at < axis[-1]:
        return values[0] if at <= axis[0] else values[-1]
    left = right - 1
    part = math.log(at / axis[left]) / math.log(axis[right] / axis[left])
    return math.exp((1 - part) * math.log(values[left]) + part * math.log(values[right]))
