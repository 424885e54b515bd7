"""The content of a loaded model, and the checks of what an optimisation claims about it.

The harness takes the census, never the scheme that is being checked. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.splits import SplitWork

LEAST_TOUCHED = 0.5
NONE_DENSE = "some, but no layer was dense before this step"


@dataclass(frozen=True)
class Matrix:
    """One weight matrix as it is stored.

    ``shape`` is [outputs, inputs] as stored. ``zero_fraction`` is None for packed values. ``magnitude`` is
    the sum of |weights| if they are floats. ``two_of_four`` says that every four weights in a row have at
    least two zeros. ``is_head`` marks the output projection, which most schemes leave alone. ``scalars`` are
    the single numbers that the module holds beside the matrix, such as the scale of its input.
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


@dataclass(frozen=True)
class Decoding:
    """How a short request was decoded: how many layers of each class held the keys and values, the bytes they
    held per token (``None`` if the engine cannot count them), whether the decode step ran as a compiled
    graph, how many tokens were drafted (None if the engine does not speculate), what two processes did (None
    if there is one), and the bytes that one more token adds once windows are full (None if not looked at)."""

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
    """Every weight matrix of a model, and the bytes of all its tensors; tied tensors are counted once.

    ``norms`` is the sum of the magnitudes of each one-dimensional weight. ``others`` is the number of weights
    in tensors of two and more dimensions that are no matrix of a layer, such as the stacked experts of a
    mixture; embeddings do not count. ``decoding`` is present only for schemes that ask for it (``DECODING =
    True``).
    """

    matrices: tuple[Matrix, ...]
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]
    decoding: Decoding | None = None
    norms: Mapping[str, float] = field(default_factory=dict)
    others: int = 0

    def of(self, module: str) -> tuple[Matrix, ...]:
        """Return the matrices held by modules of this class name."""
        return tuple(m for m in self.matrices if m.module == module)


@dataclass(frozen=True)
class Check:
    """One check: what the scheme claims, what is expected, what was found, and whether the claim holds."""

    claim: str
    expected: str
    found: str
    holds: bool


def check(claim: str, found: object, holds: bool, expected: object) -> Check:
    """Return a Check with its values converted to text."""
    return Check(claim, str(expected), str(found), holds)


def replaced(before: Census, after: Census, module: str, *dtypes: str, was: str = "Linear") -> list[Check]:
    """Return the checks that all weight quantisers share: the class and dtype of the layers, and fewer bytes.
    ``was`` is the class of the layers before."""
    wanted = sum(m.module == was and not m.is_head for m in before.matrices)
    new = [m for m in after.of(module) if not m.is_head]
    done = sum(m.dtype in dtypes for m in new)
    found = ", ".join(sorted({m.dtype for m in new})) or "none"
    asked = " or ".join(dtypes)
    smaller = after.weights_bytes < before.weights_bytes
    elements = {m.name: m.elements for m in before.matrices}
    return [
        check(f"layers now {module} of {asked}", done, wanted > 0 and done == wanted, wanted or NONE_DENSE),
        check("stored dtype", found, bool(new) and all(m.dtype in dtypes for m in new), asked),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
        *touched(sum(elements.get(m.name, 0) for m in new), left_alone(after, module)),
    ]


def touched(weights: int, left: int) -> list[Check]:
    """Check that a scheme has touched at least half of the weights; ``left`` are those that it left alone.

    Half of a mixture of experts is little more than nothing: most schemes look for linear layers, and the
    experts lie in tensors of three dimensions. There is no check if no weight was left.
    """
    if not left:
        return []
    share = weights / (weights + left)
    found = f"{share:.1%}, and {left:,} weights as they were"
    return [check("share of the weights that were changed", found, share >= LEAST_TOUCHED, "at least 50%")]


def left_alone(after: Census, module: str) -> int:
    """Return the number of weights in matrices and stacks that no layer of class ``module`` holds: routers,
    experts that are still stacked. The head does not count."""
    return after.others + sum(m.elements for m in after.matrices if m.module != module and not m.is_head)


def bits_a_weight(
    before: Census, after: Census, module: str, bits: float, tables: int = 0, scales: float = 2
) -> Check:
    """Check the stored bits per weight, scales and zero points included: from ``bits`` to ``bits + scales``.

    ``tables`` is the number of bytes of constant tables in each layer, which outweigh very small matrices.
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
