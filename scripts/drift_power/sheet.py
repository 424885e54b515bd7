"""The result of a campaign as tables, from the lines of its journal alone."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from bench.drift.behaviour import POWER
from bench.stats.proportions import ALPHA, least_change, mcnemar, wilson
from drift_power.campaign import Planted
from drift_power.detection import Point, found_with_power
from drift_power.plants import ITSELF

TRIALS = 200  # of a baseline against itself
POINTS = 100
Cell = dict[float, list[Planted]]  # by strength


def tables(lines: Sequence[Planted]) -> str:
    """Return what is found, and how often nothing is found to be something, as Markdown."""
    return "\n".join([*_found_rows(lines), "", *_curve_rows(lines), "", *_null_rows(lines)])


HEADS = (
    "plant", "suite", "computed least loss", "found where the mean change is that or more",
    "smallest strength found", "its change", "mean KL there (nat)", "found there",
)  # fmt: skip


def _found_rows(lines: Sequence[Planted]) -> Iterator[str]:
    yield f"| {' | '.join(HEADS)} |"
    yield "|:--|:--|--:|--:|--:|--:|--:|:--|"
    for (plant, suite), cell in sorted(cells(lines).items()):
        least = _computed(one for some in cell.values() for one in some)
        strength, words = smallest_found(cell)
        shown = ["-", "-", "-"]
        if math.isfinite(strength):
            some = cell[strength]
            change, kld = POINTS * fmean(one.change for one in some), fmean(one.kld for one in some)
            shown = [f"{strength:g}", f"{change:+.1f}", f"{kld:.3g}"]
        computed = ["at chance", "-"] if least is None else [f"{POINTS * least:.1f}", _confirmed(cell, least)]
        yield f"| {' | '.join([plant, suite, *computed, *shown, words])} |"


def _computed(lines: Iterable[Planted]) -> float | None:
    """Return the loss that is computed to be found, by today's formula; None where the suite is at chance."""
    return next((least_change(line.n, line.n, POWER) for line in lines if line.least), None)


def _confirmed(cell: Cell, least: float) -> str:
    """Return how many changes are found at strengths whose mean change is as large as one that should be."""
    large = [some for some in cell.values() if abs(fmean(one.change for one in some)) >= least]
    every = [one for some in large for one in some]
    return f"{sum(one.found for one in every)} of {len(every)}" if every else "-"


def cells(lines: Sequence[Planted]) -> dict[tuple[str, str], Cell]:
    """Return the lines of each plant and suite by strength, without those in which nothing was planted."""
    found: dict[tuple[str, str], Cell] = {}
    for line in lines:
        if line.plant != ITSELF:
            found.setdefault((line.plant, line.tested), {}).setdefault(line.strength, []).append(line)
    return found


def smallest_found(cell: Cell) -> tuple[float, str]:
    """Return the smallest strength from which on at least 80 % are found, and the share in words; infinite
    if none is."""
    best = math.inf, "not found at any strength tried"
    for strength in sorted(cell, reverse=True):
        share, words = _share_found(cell[strength])
        if share < POWER:
            break
        best = strength, words
    return best


def _share_found(some: Sequence[Planted]) -> tuple[float, str]:
    """Return the share of seeds; of one seed, the share of trials with as many items drawn from its own."""
    if len(some) == 1:
        share = sum(map(_is_flagged, _drawn_again(some[0]))) / TRIALS
        return share, f"{share:.0%} of {TRIALS} draws of its items"
    share_of = wilson(sum(one.found for one in some), len(some))
    return (
        share_of.value,
        f"{share_of.value:.0%} of {len(some)} seeds [{share_of.low:.0%}, {share_of.high:.0%}]",
    )


def _curve_rows(lines: Sequence[Planted]) -> Iterator[str]:
    """Yield for each suite and plant, and for all plants, the change that is found with 80 %, beside the
    computed one."""
    heads = "suite", "plant", "lines", "computed least loss", "found with 80 %, by all lines", "processor s"
    yield f"| {' | '.join(heads)} |"
    yield "|:--|:--|--:|--:|--:|--:|"
    for suite in sorted({line.tested for line in lines}):
        some = [line for line in lines if line.tested == suite and line.plant != ITSELF]
        plants = sorted({line.plant for line in some})
        for plant in [*plants, "all"] if len(plants) > 1 else plants:
            of_plant = [line for line in some if plant in (line.plant, "all")]
            least = _computed(of_plant)
            shown = "at chance" if least is None else f"{POINTS * least:.1f}"
            seconds = fmean(line.cpu_s for line in of_plant)
            row = suite, plant, str(len(of_plant)), shown, _with_power(of_plant), f"{seconds:.0f}"
            yield f"| {' | '.join(row)} |"


def _with_power(some: Sequence[Planted]) -> str:
    """Return the net change that is found with 80 %, in points, with its interval."""
    points = []
    for line in some:
        shares = [_is_flagged(counts) for counts in _drawn_again(line)]
        points.append(Point(abs(line.lost - line.gained), sum(shares) / TRIALS))
    found = found_with_power(points, f"{some[0].tested} {len(some)}")
    if found is None or found.low is None or found.high is None:
        return "-"
    value, low, high = (POINTS * each / some[0].n for each in (found.value, found.low, found.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _null_rows(lines: Sequence[Planted]) -> Iterator[str]:
    heads = "suite", "items", "differ with other threads", f"flags in {TRIALS} draws", "most that differ"
    yield f"| {' | '.join(heads)} | flags in {TRIALS} by coin | exactly |"
    yield "|:--|--:|--:|--:|--:|--:|--:|"
    for suite in sorted({line.tested for line in lines}):
        itself = next((one for one in lines if (one.plant, one.tested) == (ITSELF, suite)), None)
        noisy = max((one for one in lines if one.tested == suite), key=lambda one: one.lost + one.gained)
        known = ["-", "-"]
        if itself is not None:
            known = [str(itself.lost + itself.gained), str(sum(map(_is_flagged, _drawn_again(itself))))]
        differ, swapped = noisy.lost + noisy.gained, sum(map(_is_flagged, _sides_drawn(noisy)))
        row = suite, str(noisy.n), *known, str(differ), str(swapped), f"{_flagged_by_coin(differ):.1%}"
        yield f"| {' | '.join(row)} |"


def _flagged_by_coin(differ: int) -> float:
    """Return how often so many items are flagged if a coin says which side answered each."""
    flagged = (lost for lost in range(differ + 1) if _is_flagged((lost, differ - lost)))
    return sum(math.comb(differ, lost) for lost in flagged) / 2**differ


def _is_flagged(counts: tuple[int, int]) -> bool:
    return mcnemar(*counts) <= ALPHA


def _drawn_again(line: Planted) -> Iterator[tuple[int, int]]:
    """Yield (lost, gained) of as many items drawn from a line's own, with replacement. No model is asked
    again: the test depends on these counts alone."""
    drawn = random.Random(line.seed_of_draws)
    kept = line.n - line.lost - line.gained
    for _trial in range(TRIALS):
        what = drawn.choices(("lost", "gained", "kept"), (line.lost, line.gained, kept), k=line.n)
        yield what.count("lost"), what.count("gained")


def _sides_drawn(line: Planted) -> Iterator[tuple[int, int]]:
    """Yield (lost, gained) if a coin said for each item which side answered it: then no side is the worse
    one, and as many items differ as in the line."""
    drawn = random.Random(line.seed_of_draws)
    differ = line.lost + line.gained
    for _trial in range(TRIALS):
        lost = sum(drawn.random() < 0.5 for _item in range(differ))
        yield lost, differ - lost
