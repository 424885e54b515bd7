"""Thousands of pairs of runs of unchanged code, simulated from what this project's own runs moved by.

One run: passes alone move with the machine (sd 0.057 between two runs), ratios measured in turns by 0.018
beyond their own interval, both as seen between two runs of quantisation-cpu half an hour apart; drift is
computed, so unchanged code gives the very same windows.
"""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from test_changes import KL, TIMES, Json, between_runs, ratio, row, run

PAIRS = 1000  # of a real change; four times as many for a rare false alarm
ALONE_SD, RATIO_SD = 0.057 / math.sqrt(2), 0.018 / math.sqrt(2)  # of one run
OWN_SD = 0.0128  # of a ratio, inside the run: an interval of ± 2.5 %


def simulated(rng: random.Random, slower: float = 1.0, windows: tuple[float, ...] = KL) -> Json:
    """A run whose variant is ``slower`` times what it was."""
    alone = [10 * math.exp(rng.gauss(0, ALONE_SD)), 5 * slower * math.exp(rng.gauss(0, ALONE_SD))]
    value = 0.5 * slower * math.exp(rng.gauss(0, math.hypot(OWN_SD, RATIO_SD)))
    rows = [row("baseline", alone[0], 0.03), row("v", alone[1], 0.03, windows)]
    return run(variants=rows, comparisons=ratio(value, 1.959964 * OWN_SD))


def test_unchanged_code_is_neither_better_nor_worse() -> None:
    """Not in one row of the whole table, in 97 % of the pairs at least."""
    rng, wrong, alarms = random.Random(16), Counter[str](), 0
    for _ in range(4 * PAIRS):
        found = between_runs(simulated(rng), simulated(rng))
        told = [one.basis for one in found if one.verdict != "cannot tell"]
        wrong.update(told)
        alarms += bool(told)
    assert alarms <= 0.03 * 4 * PAIRS, wrong
    assert wrong["window by window"] == 0


@pytest.mark.parametrize(("slower", "share"), [(1.10, 0.8), (1.15, 0.99)])
def test_a_real_change_is_seen(slower: float, share: float) -> None:
    rng, seen = random.Random(17), Counter[str]()
    for _ in range(PAIRS):
        for one in between_runs(simulated(rng), simulated(rng, slower)):
            if one.variant == "v" and one.metric in TIMES:
                seen[one.verdict] += 1
    assert seen["worse"] >= share * seen.total(), seen
    assert seen["better"] == 0


def test_drift_ten_per_cent_up_is_seen() -> None:
    rng = random.Random(18)
    more = tuple(kl * rng.uniform(1.07, 1.13) for kl in KL)
    found = between_runs(simulated(rng), simulated(rng, windows=more))
    verdicts = {one.metric: one.verdict for one in found if one.variant == "v"}
    assert verdicts["kld_mean"] == "worse"
