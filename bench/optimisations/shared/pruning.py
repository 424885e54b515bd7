"""Hold the settings and checks of the schemes that set weights to zero."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any, Literal

from bench.engine.evidence import Census, Check, check, left_alone, touched
from bench.optimisations.shared.calibration import CalibrationParams

NOTE = "zeros in dense kernels: they are multiplied like any other number"
TOO_MANY = 0.02


@dataclass(frozen=True)
class SparsityParams:
    """``sparsity`` is the fraction of each linear layer's weights to set to zero, strictly between 0 and 1.

    ``pattern`` ``2:4`` sets two of every four consecutive weights of a row to zero, as sparse tensor cores
    need.
    """

    sparsity: float = 0.5
    pattern: Literal["unstructured", "2:4"] = "unstructured"

    def __post_init__(self) -> None:
        check_sparsity(self)


@dataclass(frozen=True)
class CalibratedSparsityParams(CalibrationParams):
    """``sparsity`` and ``pattern`` are as for magnitude pruning.

    The other settings choose the calibration text.
    """

    sparsity: float = 0.5
    pattern: Literal["unstructured", "2:4"] = "unstructured"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sparsity(self)


def check_sparsity(params: Any) -> None:
    """Raise ValueError if the sparsity is not between 0 and 1, or does not fit the pattern."""
    if not 0 < params.sparsity < 1:
        raise ValueError("sparsity must be strictly between 0 and 1, such as 0.5")
    if params.pattern == "2:4" and params.sparsity != 0.5:
        raise ValueError("the pattern 2:4 is a sparsity of 0.5")


def zeroed(after: Census, params: Any) -> list[Check]:
    """Check the share of zeros in every matrix, read from the matrices, and the pattern.

    The share may be below the sparsity by less than one weight per row, and above it by at most 0.02.
    """
    pruned = [m for m in after.of("Linear") if not m.is_head]
    fractions = [m.zero_fraction or 0.0 for m in pruned]
    low, high = min(fractions, default=0.0), max(fractions, default=0.0)
    found = f"{low:.4f} to {high:.4f} in {len(pruned)} matrices"
    enough = all(
        fraction >= floor(params.sparsity * m.shape[1]) / m.shape[1] - 1e-9
        for fraction, m in zip(fractions, pruned, strict=True)
    )
    holds = bool(pruned) and enough and high <= params.sparsity + TOO_MANY
    checks = [check("zero fraction of each matrix", found, holds, f"{params.sparsity:g}")]
    checks += touched(sum(m.elements for m in pruned), left_alone(after, "Linear"))
    if params.pattern == "2:4":
        fit = sum(m.two_of_four for m in pruned)
        checks.append(
            check("matrices with two zeros in every four", fit, 0 < fit == len(pruned), len(pruned))
        )
    return checks
