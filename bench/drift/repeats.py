"""Measure how much a reply repeats itself, and whether it ends in a loop."""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 4
LOOP_TOKENS, LONGEST_PERIOD = 16, 4


def repeated(reply: Sequence[int]) -> list[float]:
    """Return, for each four consecutive tokens, 1.0 if they occurred earlier in the reply, else 0.0.

    The mean of these values is "rep-4" of Welleck et al., arXiv 1908.04319.
    """
    seen: set[tuple[int, ...]] = set()
    occurred: list[float] = []
    for start in range(len(reply) - GRAM + 1):
        gram = tuple(reply[start : start + GRAM])
        occurred.append(float(gram in seen))
        seen.add(gram)
    return occurred


def collapsed(reply: Sequence[int]) -> bool:
    """Return whether the last 16 tokens only repeat a piece of at most four tokens."""
    end = reply[-LOOP_TOKENS:]
    return len(end) == LOOP_TOKENS and any(
        end[period:] == end[:-period] for period in range(1, LONGEST_PERIOD + 1)
    )
