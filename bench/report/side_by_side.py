"""Print pairs of replies side by side, with the place marked where they part."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.formatting import printable
from bench.results.examples import Example

WIDTH = 52
MARK = "▸"
NONE = "No reply differs, or the run kept none (random weights, or a run of an earlier version)."


def render(found: Sequence[tuple[str, Sequence[Example]]]) -> str:
    """Return the examples of every row, each with its prompt; ``▸`` stands before the first letter that
    differs."""
    blocks = [_block(title, number, one) for title, some in found for number, one in enumerate(some, 1)]
    return "\n\n".join(blocks) or NONE


def _block(title: str, number: int, one: Example) -> str:
    head = f"{printable(title)}, {number}: {printable(one.source)}\n  prompt: {_flat(one.prompt)[-200:]}"
    sides = [_column(name, _marked(text, one.same)) for name, text in (
        ("baseline", one.baseline), ("variant", one.variant)
    )]  # fmt: skip
    tall = max(map(len, sides))
    lines = zip(*(side + [""] * (tall - len(side)) for side in sides), strict=True)
    return "\n".join([head, *(f"  {left:<{WIDTH}}  {right}".rstrip() for left, right in lines)])


def _column(name: str, text: str) -> list[str]:
    return [name, "-" * len(name), *(textwrap.wrap(text, WIDTH) or ["(nothing)"])]


def _marked(text: str, same: int) -> str:
    return f"{_flat(text[:same])}{MARK}{_flat(text[same:])}"


def _flat(text: str) -> str:
    """Put a text on one line; its line ends become ``⏎``."""
    return printable(text.replace("\n", "⏎"))
