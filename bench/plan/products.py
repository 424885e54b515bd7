"""How long a product of matrices takes, by its rows: measured, and read between what was measured.

A product of few rows waits for its weights, one of many rows for arithmetic, and between them an engine
changes its kernels. A ceiling for each end describes neither a prompt of 128 tokens nor an expert that gets
eight of them, so the time is measured at several rows and widths.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import UsageError


@dataclass(frozen=True)
class Products:
    """Seconds for each weight of a matrix, measured for every pair of ``widths`` and ``rows``.

    The width of a matrix is the square root of its number of weights. ``seconds`` has one tuple for each
    width, with one value for each number of rows; both axes rise.
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
        if not rising or not whole or any(not 0 < one < math.inf for line in self.seconds for one in line):
            raise UsageError("products need a time above 0 for every width and every number of rows")

    def weight_s(self, width: float, rows: float) -> float:
        """Return the seconds for one weight of a matrix of ``width`` that ``rows`` are multiplied with.

        Between measured points the logarithms are linear. Outside the widths and below the rows the nearest
        point holds; above the rows the time rises with them.
        """
        found = [_between(self.rows, line, min(rows, self.rows[-1])) for line in self.seconds]
        return _between(self.widths, found, width) * max(rows / self.rows[-1], 1.0)


def _between(axis: Sequence[int], values: Sequence[float], at: float) -> float:
    """Return the value at a place on an axis, linear in logarithms and constant outside."""
    right = min(max(bisect_left(axis, at), 1), len(axis) - 1)
    if len(axis) == 1 or not axis[0] < at < axis[-1]:
        return values[0] if at <= axis[0] else values[-1]
    left = right - 1
    part = math.log(at / axis[left]) / math.log(axis[right] / axis[left])
    return math.exp((1 - part) * math.log(values[left]) + part * math.log(values[right]))
