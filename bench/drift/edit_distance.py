"""Compute the exact edit distance of two token sequences.

It is fast enough for replies of thousands of tokens, and its memory grows only with their length.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 4096  # rows of a strip; its masks, with one bit per row for each distinct token, take up to 1 MiB


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the least number of tokens to insert, delete or replace (Levenshtein 1966).

    Two integers hold a column of the table as bits: where it rises and where it falls (Myers 1999; Hyyrö
    2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances"). The table is
    computed in strips of ``BLOCK`` rows. Each strip passes on its lowest row, as the change (−1, 0 or 1) per
    step.
    """
    one, other = _where_they_differ(one, other)
    steps = [1] * len(one)  # the first row of the table counts the tokens of ``one``
    for start in range(0, len(other), BLOCK):
        steps = _strip(one, other[start : start + BLOCK], steps)
    return len(other) + sum(steps)


def _where_they_differ(one: Sequence[int], other: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Return both sequences without their common beginning and end, which do not change the distance."""
    shorter = min(len(one), len(other))
    begin = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    most = shorter - begin
    end = next((n for n in range(most) if one[-1 - n] != other[-1 - n]), most)
    return one[begin : len(one) - end], other[begin : len(other) - end]


def _strip(one: Sequence[int], rows: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the steps (−1, 0 or 1) along the lowest row of a strip, from those of the row above it."""
    places: dict[int, int] = {}
    for place, token in enumerate(rows):
        places[token] = places.get(token, 0) | 1 << place
    every, last = (1 << len(rows)) - 1, len(rows) - 1
    up, down = every, 0  # where the table rises and falls along the column
    lowest = []
    for token, above in zip(one, steps, strict=True):
        here = places.get(token, 0)
        vertical = here | down
        here |= above < 0
        same = (((here & up) + up) ^ up) | here
        rises, falls = (down | ~(same | up)) & every, same & up & every
        lowest.append((rises >> last) - (falls >> last))
        rises, falls = (rises << 1 | (above > 0)) & every, (falls << 1 | (above < 0)) & every
        up, down = (falls | ~(vertical | rises)) & every, rises & vertical
    return lowest
