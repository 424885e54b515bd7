"""The edit distance of two token sequences: exact, fast enough for replies of thousands of tokens, and in
memory that grows with their length only."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 4096  # tokens of a strip: the masks of one, with a bit for each place of a token, take 1 MiB


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the least number of tokens to insert, delete or replace (Levenshtein 1966).

    A column of the table is two integers used as rows of bits (Myers 1999; Hyyrö 2003, "A bit-vector
    algorithm for computing Levenshtein and Damerau edit distances"). The table is computed in strips of
    ``BLOCK`` rows. A strip hands its lowest row on to the next: by how much it rises or falls at each step.
    """
    one, other = _where_they_differ(one, other)
    steps = [1] * len(one)  # the first row of the table counts the tokens of ``one``
    for start in range(0, len(other), BLOCK):
        steps = _strip(one, other[start : start + BLOCK], steps)
    return len(other) + sum(steps)


def _where_they_differ(one: Sequence[int], other: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Return both without what they have in common at the beginning and at the end, which costs nothing."""
    shorter = min(len(one), len(other))
    begin = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    most = shorter - begin
    end = next((n for n in range(most) if one[-1 - n] != other[-1 - n]), most)
    return one[begin : len(one) - end], other[begin : len(other) - end]


def _strip(one: Sequence[int], rows: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the steps (-1, 0 or 1) along the lowest row of a strip, from those of the row above it."""
    places: dict[int, int] = {}
    for place, token in enumerate(rows):
        places[token] = places.get(token, 0) | 1 << place
    every, last = (1 << len(rows)) - 1, len(rows) - 1
    up, down = every, 0  # where the table rises and falls along the column
    found = []
    for token, above in zip(one, steps, strict=True):
        here = places.get(token, 0)
        vertical = here | down
        here |= above < 0
        same = (((here & up) + up) ^ up) | here
        rises, falls = (down | ~(same | up)) & every, same & up & every
        found.append((rises >> last) - (falls >> last))
        rises, falls = (rises << 1 | (above > 0)) & every, (falls << 1 | (above < 0)) & every
        up, down = (falls | ~(vertical | rises)) & every, rises & vertical
    return found
