"""Compute the exact edit distance of two token sequences.

It is fast enough for replies of thousands of tokens, and its memory grows only with their length.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 4096  # rows of a strip; its masks, with one bit per row for each distinct token, take up to 1 MiB


def edit_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the least number of tokens to insert, delete or replace (Levenshtein 1966).

    Two integers hold a column of the table as bits: where it rises and where it falls (Myers 1999; Hyyrö
    2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances"). The table is
    computed in strips of ``BLOCK`` rows. Each strip passes on its lowest row, as the change (−1, 0 or 1) per
    step.
    """
    first, second = _where_they_differ(first, second)
    steps = [1] * len(first)  # the first row of the table counts the tokens of ``first``
    for start in range(0, len(second), BLOCK):
        steps = _strip(first, second[start : start + BLOCK], steps)
    return len(second) + sum(steps)


def _where_they_differ(first: Sequence[int], second: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Return both sequences without their common beginning and end, which do not change the distance."""
    shorter = min(len(first), len(second))
    begin = next((n for n in range(shorter) if first[n] != second[n]), shorter)
    most = shorter - begin
    end = next((n for n in range(most) if first[-1 - n] != second[-1 - n]), most)
    return first[begin : len(first) - end], second[begin : len(second) - end]


def _strip(first: Sequence[int], rows: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the steps (−1, 0 or 1) along the lowest row of a strip, from those of the row above it."""
    places: dict[int, int] = {}
    for place, token in enumerate(rows):
        places[token] = places.get(token, 0) | 1 << place
    every, last = (1 << len(rows)) - 1, len(rows) - 1
    up, down = every, 0  # where the table rises and falls along the column
    lowest = []
    for token, above in zip(first, steps, strict=True):
        here = places.get(token, 0)
        vertical = here | down
        here |= above < 0
        same = (((here & up) + up) ^ up) | here
        rises, falls = (down | ~(same | up)) & every, same & up & every
        lowest.append((rises >> last) - (falls >> last))
        rises, falls = (rises << 1 | (above > 0)) & every, (falls << 1 | (above < 0)) & every
        up, down = (falls | ~(vertical | rises)) & every, rises & vertical
    return lowest
