"""Describe the content of a loaded model, and check what an optimisation claims about it.

The harness takes the census, never the scheme that is being checked. This module uses only the standard
library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.splits import SplitWork

LEAST_TOUCHED = 0.5  # a scheme must change at least this share of the weights
NONE_DENSE = "some, but no layer was dense before this step"


@dataclass(frozen=True)
class Matrix:
    """Describe one weight matrix as it is stored.

    ``shape`` is [outputs, inputs] as stored. ``zero_fraction`` is None for packed values. ``magnitude`` is
    the sum of |weights| if they are floats. ``two_of_four`` says that every group of four weights in a row
    has at least two zeros (2:4 sparsity). ``is_head`` marks the output projection, which most schemes do not
    change. ``scalars`` are single numbers of the same module, such as the scale of its input. ``weights`` is
    the number of weights that the ``elements`` hold: as many as before packing.
    """

    name: str
    module: str
    dtype: str
    elements: int
    stored_bytes: int
    zero_fraction: float | None
    is_head: bool = False
    scalars: Mapping[str, float] = field(default_factory=dict)
    shape: tuple[int, int] = (0, 0)
    magnitude: float | None = None
    two_of_four: bool = False
    weights: int = 0


@dataclass(frozen=True)
class Decoding:
    """Describe how a short request was decoded.

    ``cache`` is the number of layers of each class that held keys and values, and ``cache_bytes_a_token``
    their bytes per token (None if the engine cannot count them). ``compiled`` says whether the decode step
    ran as a compiled graph. ``drafted`` is None if the engine does not speculate, and ``split`` is None if
    there is one process. The last is the bytes that one more token adds once windows are full (None if this
    was not looked at).
    """

    cache: Mapping[str, int]
    cache_bytes_a_token: float | None
    compiled: bool
    drafted: int | None = None
    split: SplitWork | None = None
    growth_bytes_a_token: float | None = None

    @property
    def held_by(self) -> str:
        """Return the classes in words: the name alone if all layers are of one."""
        if len(self.cache) == 1:
            return next(iter(self.cache))
        return ", ".join(f"{count} {name}" for name, count in self.cache.items())


@dataclass(frozen=True)
class Census:
    """List every weight matrix of a model, and count the bytes of all tensors; tied ones are counted once.

    ``norms`` maps each one-dimensional weight to the sum of its magnitudes. ``others`` counts the weights in
    tensors of two or more dimensions that are not the matrix of a layer, such as stacked experts; embeddings
    do not count, and those that are packed are ``packed_others``. ``decoding`` is there only for schemes that
    ask for it (``DECODING = True``).
    """

    matrices: tuple[Matrix, ...]
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]
    decoding: Decoding | None = None
    norms: Mapping[str, float] = field(default_factory=dict)
    others: int = 0
    packed_others: int = 0

    def of(self, module: str) -> tuple[Matrix, ...]:
        """Return the matrices held by modules of this class name."""
        return tuple(m for m in self.matrices if m.module == module)


@dataclass(frozen=True)
class Check:
    """Record one check: the claim, the expected and the found value as text, and whether the claim holds."""

    claim: str
    expected: str
    found: str
    holds: bool


def check(claim: str, found: object, holds: bool, expected: object) -> Check:
    """Return a Check with its values converted to text."""
    return Check(claim, str(expected), str(found), holds)


def replaced(before: Census, after: Census, module: str, *dtypes: str, was: str = "Linear") -> list[Check]:
    """Return the checks that all weight quantisers share: class and dtype of the layers, and fewer bytes.

    ``module`` is the class of the layers now, and ``was`` their class before.
    """
    wanted = sum(m.module == was and not m.is_head for m in before.matrices)
    new = [m for m in after.of(module) if not m.is_head]
    done = sum(m.dtype in dtypes for m in new)
    found = ", ".join(sorted({m.dtype for m in new})) or "none"
    asked = " or ".join(dtypes)
    smaller = after.weights_bytes < before.weights_bytes
    elements = {m.name: m.elements for m in before.matrices}
    return [
        check(
            f"layers now {module} of {asked}",
            f"{done}{'' if new else _held(after)}",
            wanted > 0 and done == wanted,
            wanted or NONE_DENSE,
        ),
        check("stored dtype", found, bool(new) and all(m.dtype in dtypes for m in new), asked),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
        *touched(sum(elements.get(m.name, 0) for m in new), left_alone(after, module)),
    ]


def _held(census: Census) -> str:
    """Return in which classes the weights are, for a claim of a class that has none."""
    classes = sorted({matrix.module for matrix in census.matrices if not matrix.is_head})
    return f" (weights are in {', '.join(classes)})" if classes else " (no layer has a weight matrix)"


def touched(weights: int, left: int, what: str = "were changed") -> list[Check]:
    """Check that a scheme changed at least half of the weights; it did not change ``left`` of them. ``what``
    says it of a checkpoint that came packed.

    The check finds schemes that change linear layers only, and so miss the experts of a mixture, which lie in
    tensors of three dimensions and are most of the weights. There is no check if ``left`` is 0.
    """
    if not left:
        return []
    share = weights / (weights + left)
    found = f"{share:.1%}, and {left:,} weights as they were"
    return [check(f"share of the weights that {what}", found, share >= LEAST_TOUCHED, "at least 50%")]


def left_alone(after: Census, module: str) -> int:
    """Return the number of weights that no layer of class ``module`` holds, such as stacked experts.

    The head and embeddings do not count.
    """
    others = after.others + after.packed_others
    return others + sum(m.elements for m in after.matrices if m.module != module and not m.is_head)


def bits_a_weight(
    before: Census, after: Census, module: str, bits: float, tables: int = 0, scales: float = 2
) -> Check:
    """Check the stored bits per weight, scales and zero points included: from ``bits`` to ``bits + scales``.

    ``tables`` is the size in bytes of constant tables in each layer, which matter for very small matrices.
    """
    new = [m for m in after.of(module) if not m.is_head]
    elements = {m.name: m.elements for m in before.matrices}
    weights = sum(elements.get(m.name, 0) for m in new)
    stored = 8 * sum(m.stored_bytes for m in new)
    fits = bits * weights <= stored < (bits + scales) * weights + 8 * tables * len(new)
    found = f"{stored / weights:.2f}" if weights else "none"
    return check(
        "bits per weight, scales included", found, bool(weights) and fits, f"{bits:g} to {bits + scales:g}"
    )
