"""What is in a loaded model, and what an optimisation claims about it. Standard library only.

The census is taken by the harness, never by the scheme that is being checked (decision D4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Matrix:
    """One weight matrix as it is stored. ``zero_fraction`` is None where values are packed; ``is_head``
    marks the output projection, which most schemes leave alone."""

    name: str
    module: str
    dtype: str
    elements: int
    stored_bytes: int
    zero_fraction: float | None
    is_head: bool = False


@dataclass(frozen=True)
class Census:
    """Every weight matrix of a model and the bytes of all its tensors, tied ones counted once."""

    matrices: tuple[Matrix, ...]
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]

    def of(self, module: str) -> tuple[Matrix, ...]:
        """The matrices held by modules of this class name."""
        return tuple(m for m in self.matrices if m.module == module)


@dataclass(frozen=True)
class Check:
    """One claim: what the scheme says must be so, what the model says, and whether they agree."""

    claim: str
    expected: str
    found: str
    holds: bool


def check(claim: str, found: object, holds: bool, expected: object) -> Check:
    """A Check whose values are spelled out for a person."""
    return Check(claim, str(expected), str(found), holds)


def replaced(before: Census, after: Census, module: str, dtype: str) -> list[Check]:
    """The checks every weight quantiser shares: which modules now hold the weights, and stored as what."""
    wanted = sum(m.module == "Linear" and not m.is_head for m in before.matrices)
    new = after.of(module)
    done = sum(not m.is_head for m in new)
    dtypes = ", ".join(sorted({m.dtype for m in new})) or "none"
    smaller = after.weights_bytes < before.weights_bytes
    return [
        check(f"linear layers now {module}", done, wanted > 0 and done == wanted, wanted),
        check("stored dtype", dtypes, dtypes == dtype, dtype),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
    ]
