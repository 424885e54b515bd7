"""Compute the experts of a mixture one by one, as every scheme does that packs them; no weight changes.

transformers multiplies all experts of a layer in one grouped product. Schemes that pack linear layers make a
loop of it. This row shows what the loop alone costs, and so what of another row is the packing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import experts
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported

REQUIRES = ("torch",)
NO_STACKS = "this model has no experts in stacks"


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return a reason if the config of the model names no experts."""
    return None if architecture["mixture"] else NO_STACKS


def apply(model: Any, params: Params) -> Any:
    """Make linear layers of all experts. Raises Unsupported if there are none in stacks."""
    if not experts.has_stacks(model):
        raise Unsupported(NO_STACKS)
    experts.into_linears(model)
    return model


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that linear layers hold exactly the weights that left the stacks, in as many bytes."""
    moved = before.others - after.others
    more = _in_linears(after) - _in_linears(before)
    same = after.weights_bytes == before.weights_bytes
    return [
        check("weights that left the stacks", f"{moved:,}", moved > 0, "more than 0"),
        check(
            "weights that linear layers gained", f"{more:,}", 0 < more <= moved, f"{moved:,}, biases apart"
        ),
        check("bytes of all weights", after.weights_bytes, same, before.weights_bytes),
    ]


def _in_linears(census: Census) -> int:
    return sum(matrix.elements for matrix in census.of("Linear"))
