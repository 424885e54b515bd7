"""The edit distance of two token sequences, exact and fast enough for replies of thousands of tokens."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the least number of tokens to insert, delete or replace (Levenshtein 1966).

    A column of the table is two integers used as rows of bits (Myers 1999; Hyyrö 2003, "A bit-vector
    algorithm for computing Levenshtein and Damerau edit distances").
    """
    if not one or not other:
        return max(len(one), len(other))
    places: dict[int, int] = {}
    for place, token in enumerate(other):
        places[token] = places.get(token, 0) | 1 << place
    every, last = (1 << len(other)) - 1, 1 << (len(other) - 1)
    up, down, score = every, 0, len(other)  # where the table rises and falls along the column
    for token in one:
        here = places.get(token, 0)
        same = ((((here & up) + up) ^ up) | here | down) & every
        rises, falls = (down | ~(same | up)) & every, same & up
        score += bool(rises & last) - bool(falls & last)
        rises = (rises << 1 | 1) & every
        up, down = (falls << 1 | ~(same | rises)) & every, rises & same
    return score
