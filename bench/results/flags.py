"""Flag what is doubtful about a row's replies and numbers, from its figures alone."""

from __future__ import annotations

from collections.abc import Iterator

from bench.drift.suites.generation import LENGTH, other_lengths
from bench.metrics.numerics import IN_BATCH, OTHER_RUNS, RATIO, SATURATED
from bench.metrics.repetition import COLLAPSED
from bench.stats.figure import Figure, Figures
from bench.stats.proportions import ALPHA, mcnemar

LARGEST_REACH = 2.0  # ratio of the ranges of logits, on the same text, from which a row is flagged


def flags(figures: Figures) -> tuple[str, ...]:
    """Return the flags of a row in words; the result is empty if nothing is doubtful."""
    return tuple(_flags(figures))


def _flags(figures: Figures) -> Iterator[str]:
    if runs := _counted(figures.get(OTHER_RUNS.key)):
        yield f"not deterministic: {runs} batches differ between two runs"
    if batch := _counted(figures.get(IN_BATCH.key)):
        yield f"{batch} requests get other replies in a batch than alone"
    loops = figures.get(COLLAPSED.key)
    if loops and _more_loops(loops):
        yield f"{loops.notes['new']} of {loops.notes['n']} replies end in a loop, and not the baseline's"
    length = figures.get(LENGTH.key)
    if length and other_lengths(length):
        if length.value:
            yield f"replies are {length.value:.2f} times as long (outside 0.9 to 1.1)"
        else:
            yield "every reply is empty: it ends at once"
    reach = figures.get(RATIO.key)
    if reach and not 1 / LARGEST_REACH <= reach.value <= LARGEST_REACH:
        yield f"its logits reach {reach.value:.2g} times as far"
    cut = figures.get(SATURATED.key)
    if cut and (ends := _counted(cut)):
        yield f"{ends} activations are at the end of {cut.notes.get('format')}"


def _counted(figure: Figure | None) -> str:
    """Return ``2 of 8`` for a count above zero, and an empty text for none."""
    return f"{figure.value:.0f} of {figure.notes.get('n')}" if figure and figure.value else ""


def _more_loops(loops: Figure) -> bool:
    """Return whether significantly more replies than the baseline's end in a loop (McNemar's exact test)."""
    new, gone = loops.notes.get("new") or 0, loops.notes.get("gone") or 0
    return new > gone and mcnemar(gone, new) <= ALPHA
