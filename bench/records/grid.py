"""Describe the grid on which the weights of a quantised file lie, and warn where it spoils a measurement.

Weights that were dequantised from a file with 16 levels in blocks of 32 lie on a grid. A scheme that rounds
to 16 levels in blocks of 32 finds the same grid again and changes nothing, although it would change the
weights of an ordinary checkpoint. Its drift is then measured as too small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_KL = 1e-6  # nats per token that a move off the grid may cost; float32 rounding alone costs about 1e-9
# (weights that share a scale, levels that each of them can have), by the name of a GGUF tensor type.
GRIDS = {
    **dict.fromkeys(("Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4"), (32, 16)),
    **dict.fromkeys(("Q5_0", "Q5_1", "Q5_K"), (32, 32)),
    **dict.fromkeys(("Q8_0", "Q8_1"), (32, 256)),
    "Q2_K": (16, 4),
    "Q3_K": (16, 8),
    "Q6_K": (16, 64),
}

CONFOUNDED = (
    ": a scheme with as many levels in such blocks finds that grid again, so the drift of quantised rows is "
    "not what an ordinary checkpoint would show"
)
MAY_BE_CONFOUNDED = f"weights from a .gguf file stay on the grid of its type{CONFOUNDED}"


@dataclass(frozen=True)
class Grid:
    """Describe the grid of the linear layers' weights in the file from which they were dequantised.

    ``file_type`` is the type of most of them. ``block`` weights share a scale, and each has one of ``levels``
    values; both are None if the type has no known grid. ``moved`` is true if the weights were moved off the
    grid, and ``kl`` is how much that changed the outputs (mean KL, nats). ``why_not`` says why they stayed
    on the grid although the config asked to move them.
    """

    file_type: str
    block: int | None
    levels: int | None
    moved: bool = False
    kl: float | None = None
    why_not: str | None = None


def grid_of(file_type: str) -> Grid:
    """Return the grid of a GGUF tensor type; block and levels are None for an unknown type."""
    block, levels = GRIDS.get(file_type, (None, None))
    return Grid(file_type, block, levels)


def words(grid: Mapping[str, Any] | None) -> str:
    """Return a phrase for people about where the weights come from; '' if they come from no such file."""
    if not grid:
        return ""
    if grid["block"] is None:
        return f"read from {grid['file_type']}"
    what = f"dequantised from {grid['file_type']} (blocks of {grid['block']}, {grid['levels']} levels)"
    if grid["moved"]:
        how = f"KL to the file's own < {MOST_KL:.0e}".replace("e-0", "e-")
        return f"{what}, then moved off that grid without changing the function ({how})"
    return f"{what}, and still on that grid" + (f" ({why})" if (why := grid.get("why_not")) else "")


def warning(rows: Iterable[tuple[Mapping[str, Any], Iterable[str]]]) -> str | None:
    """Return a warning for the reader of a run; None if no row quantises weights that lie on a grid.

    ``rows`` holds, for every row, its model and the labels of its steps.
    """
    for model, steps in rows:
        grid = model.get("grid")
        if grid and grid["block"] is not None and not grid["moved"] and quantises(steps):
            return f"the weights of {model['name']} were {words(grid)}{CONFOUNDED}"
    return None


def quantises(steps: Iterable[str]) -> bool:
    """Return whether one of the steps rounds weights, judged by their labels; the KV cache does not count."""
    return any(step.startswith("quantise ") and not step.startswith("quantise kv-") for step in steps)
