"""Say how often blind guessing is right, and whether a baseline is shown to be better than that."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.records import Json
from bench.stats.proportions import wilson


def guessed(asked: Sequence[Json]) -> float:
    """Return the share of right answers by blind guessing, which is 0 if replies are free text."""
    return math.fsum(map(_of_item, asked)) / len(asked)


def _of_item(item: Json) -> float:
    return float(item.get("chance", 1 / len(item["choices"]) if "choices" in item else 0.0))


def at_chance(asked: Sequence[Json], right: Sequence[bool]) -> bool:
    """Return whether a baseline is not shown to be better than guessing, so that it has no ability to lose.

    A model may know one language only, so it is enough to be better in one. Free text is not right by chance.
    """
    languages = {item.get("lang") for item in asked}
    sets = [[place for place, item in enumerate(asked) if item.get("lang") == one] for one in languages]
    return not any(
        _better([asked[place] for place in places], sum(right[place] for place in places))
        for places in (range(len(asked)), *sets)
    )


def _better(asked: Sequence[Json], right: int) -> bool:
    chance, low = guessed(asked), wilson(right, len(asked)).low
    return chance == 0 or (low is not None and low > chance)
