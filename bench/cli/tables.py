"""Lay out rows of cells as lines of text that fit the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable

Row = tuple[str, ...]
LEAST_WIDTH = 40  # characters of the last column; with less room it is written below the others


def terminal_width() -> int | None:
    """Return the width of the terminal in characters, or None for a file or a pipe, where no line wraps."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def align(rows: Iterable[Row], width: int | None = None) -> list[str]:
    """Lay out rows of cells as lines with aligned columns.

    The last column is wrapped so that a line, indented by two spaces, has at most ``width`` characters. With
    None it is not wrapped.
    """
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    start = sum(widths) + 2 * len(widths)
    lines = []
    for row in table:
        first = "".join(f"{cell.ljust(wide)}  " for cell, wide in zip(row, widths, strict=False))
        room = None if width is None else width - 2 - start
        if room is None or len(row[-1]) <= room:
            lines.append((first + row[-1]).rstrip())
        elif room >= LEAST_WIDTH:
            begin, *rest = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]  # nothing but blanks
            lines += [(first + begin).rstrip(), *(" " * start + line for line in rest)]
        else:
            below = textwrap.wrap(row[-1], max((width or 0) - 6, 1), break_on_hyphens=False)
            lines += [first.rstrip(), *(f"    {line}" for line in below)]
    return lines
