"""What a token in and a token out cost, from several workloads with different mixes of both.

Where prompts and replies of many requests are computed in the same passes, no clock can tell their time
apart. The cost of whole workloads can: it is fitted as a price for each token in and each token out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError

FORMULA_SPLIT: Final = "least squares of C_run on (sum n_in, sum n_out), neither below 0, rescaled to the sum"
LEAST_CELLS: Final = 3
LEAST_SPREAD: Final = 1.5  # the largest ratio of tokens in to tokens out, divided by the smallest


@dataclass(frozen=True)
class Cell:
    """One workload: what it cost in dollars, and its tokens in and out."""

    usd: float
    input_tokens: float
    output_tokens: float

    def __post_init__(self) -> None:
        for name in ("usd", "input_tokens", "output_tokens"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} of a workload must be above 0, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class TokenPrices:
    """Dollars of a token in and of a token out, and how far the workloads lie from them: the root mean square
    of the relative errors."""

    input_usd: float
    output_usd: float
    residual: float


def split_by_workloads(cells: Sequence[Cell]) -> TokenPrices:
    """Return the prices that explain the cost of ``cells`` best (``FORMULA_SPLIT``).

    Every cell counts the same, whatever its size. Raises UsageError for fewer than three cells and for cells
    with nearly the same mix, which cannot tell the two prices apart.
    """
    from scipy.optimize import nnls

    if len(cells) < LEAST_CELLS:
        raise UsageError(f"a split needs {LEAST_CELLS} workloads, and there are {len(cells)}")
    mixes = [cell.input_tokens / cell.output_tokens for cell in cells]
    if max(mixes) < LEAST_SPREAD * min(mixes):
        raise UsageError("the workloads have nearly the same ratio of tokens in to tokens out")
    rows = [[cell.input_tokens / cell.usd, cell.output_tokens / cell.usd] for cell in cells]
    (input_usd, output_usd), _norm = nnls(rows, [1.0] * len(cells))
    fitted = [cell.input_tokens * input_usd + cell.output_tokens * output_usd for cell in cells]
    scale = math.fsum(cell.usd for cell in cells) / math.fsum(fitted)
    errors = [scale * one / cell.usd - 1 for one, cell in zip(fitted, cells, strict=True)]
    residual = math.sqrt(math.fsum(error**2 for error in errors) / len(errors))
    return TokenPrices(float(scale * input_usd), float(scale * output_usd), residual)
