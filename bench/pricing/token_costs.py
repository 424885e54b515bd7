"""Estimate the cost of an input token and of an output token from workloads with different mixes of both.

When a server computes prompts and replies of many requests in the same passes, their times cannot be measured
separately. So the costs of whole workloads are fitted with one price per input token and one per output
token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError

FORMULA_SPLIT: Final = "least squares of C_run on (sum n_in, sum n_out), neither below 0, rescaled to the sum"
LEAST_CELLS: Final = 3
LEAST_SPREAD: Final = 1.5  # the largest ratio of input to output tokens, divided by the smallest, at least


@dataclass(frozen=True)
class Cell:
    """One workload: its cost in US dollars, and its input and output tokens."""

    usd: float
    input_tokens: float
    output_tokens: float

    def __post_init__(self) -> None:
        for name in ("usd", "input_tokens", "output_tokens"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} of a workload must be above 0, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class TokenPrices:
    """The US dollars per input token and per output token.

    ``residual`` says how well they explain the workloads: the root mean square of the relative errors.
    """

    input_usd: float
    output_usd: float
    residual: float


def split_by_workloads(cells: Sequence[Cell]) -> TokenPrices:
    """Fit the two prices that explain the costs of ``cells`` best (``FORMULA_SPLIT``).

    Relative errors are minimised, so every cell counts the same, whatever its size. Raises UsageError for
    fewer than three cells, and for cells with nearly the same mix, which do not determine two prices.
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
    errors = [scale * usd / cell.usd - 1 for usd, cell in zip(fitted, cells, strict=True)]
    residual = math.sqrt(math.fsum(error**2 for error in errors) / len(errors))
    return TokenPrices(float(scale * input_usd), float(scale * output_usd), residual)
