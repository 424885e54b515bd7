"""Print pairs of replies side by side, and mark where they begin to differ."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.formatting import printable
from bench.results.examples import Example

WIDTH = 52
MARK = "▸"
NONE = "No reply differs, or the run kept none (random weights, or a run of an earlier version)."


def render(by_row: Sequence[tuple[str, Sequence[Example]]]) -> str:
    """Return the examples of every row, with their prompts. A ``▸`` precedes the first different character.

    ``by_row`` has pairs of (title of a row, its examples). Without examples the result is ``NONE``.
    """
    numbered = ((title, item) for title, examples in by_row for item in enumerate(examples, 1))
    return "\n\n".join(_block(title, *item) for title, item in numbered) or NONE


def _block(title: str, number: int, example: Example) -> str:
    source, prompt = printable(example.source), _flat(example.prompt)[-200:]
    head = f"{printable(title)}, {number}: {source}\n  prompt: {prompt}"
    sides = [_column(name, _marked(text, example.same)) for name, text in (
        ("baseline", example.baseline), ("variant", example.variant)
    )]  # fmt: skip
    tall = max(map(len, sides))
    lines = zip(*(side + [""] * (tall - len(side)) for side in sides), strict=True)
    return "\n".join([head, *(f"  {left:<{WIDTH}}  {right}".rstrip() for left, right in lines)])


def _column(name: str, text: str) -> list[str]:
    return [name, "-" * len(name), *(textwrap.wrap(text, WIDTH) or ["(nothing)"])]


def _marked(text: str, same: int) -> str:
    return f"{_flat(text[:same])}{MARK}{_flat(text[same:])}"


def _flat(text: str) -> str:
    """Put a text on one line, and write its line breaks as ``⏎``."""
    return printable(text.replace("\n", "⏎"))
