"""Decide which rows of a table differ, at one error rate for the whole table, by Holm's step-down rule."""

from __future__ import annotations

from collections.abc import Sequence

# The chance that a table in which nothing differs calls any of its rows better or worse.
FAMILY_ERROR = 0.02


def told_apart(p_values: Sequence[float], family_error: float = FAMILY_ERROR) -> list[bool]:
    """Decide for each row of a table whether it differs, by Holm's step-down rule (Holm 1979).

    The chance that any row which does not differ is said to differ is at most ``family_error``.
    """
    differs = [False] * len(p_values)
    ordered = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, row in enumerate(ordered):
        if p_values[row] > family_error / (len(p_values) - place):
            break
        differs[row] = True
    return differs
