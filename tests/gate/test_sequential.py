"""The gate's test: its guarantee checked by enumeration, its stopping rule, its interval, its error rates."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.gate import power
from bench.gate.sequential import (
    BISECTIONS,
    FARTHEST,
    STAKE,
    WHOLE_STAKE,
    Decision,
    Test,
    confidence_sequence,
    decide,
    evidence,
    least_cap,
    scales,
)

Test.__test__ = False  # type: ignore[attr-defined]
THREE_PERCENT = Test(margin=math.log(1.03))
DIFFERENCES = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=30)


def signs(count: int) -> itertools.product[tuple[int, ...]]:
    return itertools.product((-1, 1), repeat=count)


@pytest.mark.parametrize("stake", [STAKE, WHOLE_STAKE])
@pytest.mark.parametrize("scale", [0.001, 0.02, 5.0])
def test_a_fair_game_is_worth_one(scale: float, stake: float) -> None:
    """Over all signs of the same sizes, which symmetry makes equally likely, the evidence averages to 1."""
    sizes = [0.01, 0.003, 0.2, 0.00001, 0.03, 1.0, 0.0, 0.02]
    values = [
        evidence([s * x for s, x in zip(pattern, sizes, strict=True)], [scale] * len(sizes), stake)
        for pattern in signs(len(sizes))
    ]
    assert statistics.fmean(values) == pytest.approx(1.0, rel=1e-9)


def test_a_fair_game_with_scales_from_the_past_is_worth_one() -> None:
    """The scale of a unit depends on the units before it, signs included, and the game stays fair."""
    sizes = [0.01, 0.02, 0.015, 0.03, 0.007, 0.04, 0.02, 0.01, 0.05, 0.02]
    values = []
    for pattern in signs(len(sizes)):
        drawn = [s * x for s, x in zip(pattern, sizes, strict=True)]
        values.append(evidence(drawn, scales(drawn, 0.02)))
    assert statistics.fmean(values) == pytest.approx(1.0, rel=1e-9)


def test_a_game_against_the_gambler_is_worth_less() -> None:
    sizes = [0.01, 0.02, 0.03, 0.01, 0.02, 0.005]
    values = [
        evidence([s * x - 0.004 for s, x in zip(pattern, sizes, strict=True)], [0.02] * len(sizes))
        for pattern in signs(len(sizes))
    ]
    assert statistics.fmean(values) < 1


@given(DIFFERENCES, st.floats(-1, 1))
def test_a_scale_knows_nothing_of_its_own_unit(differences: list[float], other: float) -> None:
    changed = [*differences[:-1], other]
    assert scales(differences, 0.02) == scales(changed, 0.02)


def test_scales() -> None:
    found = scales([0.0, 0.1, -0.1, 0.3, 0.0], 0.02)
    assert found[:3] == [0.02] * 3
    assert found[3] == pytest.approx(1.4826 * 0.1)
    assert scales([0.0] * 5, 0.02)[4] == 0.001


def test_nothing_changed_passes_after_seven_units() -> None:
    assert decide([0.0] * 6, THREE_PERCENT).verdict is None
    decision = decide([0.0] * 7, THREE_PERCENT)
    assert (decision.verdict, decision.at) == ("PASS", 7)


def test_a_real_increase_fails_and_never_before_nine_units() -> None:
    assert decide([0.05] * 8, THREE_PERCENT).verdict is None
    decision = decide([0.05] * 12, THREE_PERCENT)
    assert (decision.verdict, decision.at) == ("FAIL", 9)


@pytest.mark.parametrize(("stake", "verdict"), [(STAKE, "FAIL"), (WHOLE_STAKE, None)])
def test_two_disturbed_units_do_not_take_away_what_the_others_show(stake: float, verdict: str | None) -> None:
    """Of twenty units with 3 % more, the hypervisor made the baseline's side of two 20 % slower."""
    units = [0.03, 0.028, 0.033, 0.03, -0.17, 0.029, 0.031, 0.03, 0.027, -0.15, *[0.03] * 10]
    assert decide(units, replace(THREE_PERCENT, stake=stake)).verdict == verdict


@pytest.mark.parametrize("stake", [0.0, -0.5, 1.1, math.nan])
def test_a_stake_that_is_none(stake: float) -> None:
    with pytest.raises(ValueError, match="a stake is above 0 and at most 1"):
        Test(margin=0.03, stake=stake)


def test_an_increase_within_the_margin_passes() -> None:
    assert decide([0.01] * 12, THREE_PERCENT).verdict == "PASS"


def test_what_comes_after_the_crossing_changes_nothing() -> None:
    failing = [0.05] * 9
    assert decide([*failing, *[-0.2] * 20], THREE_PERCENT) == decide(failing, THREE_PERCENT)


def test_units_beyond_the_cap_do_not_count() -> None:
    test = Test(margin=math.log(1.03), cap=7)
    assert decide([0.05] * 30, test).verdict is None


def test_many_cells_need_more_evidence() -> None:
    many = Test(margin=math.log(1.03), cells=100)
    assert decide([0.05] * 8, many).verdict is None
    assert decide([0.05] * 30, many).verdict == "FAIL"


def test_one_wild_unit_does_not_fail_a_gate() -> None:
    rng = random.Random(1)
    calm = [rng.gauss(0, 0.005) for _ in range(40)]
    for place in range(12):
        wild = [*calm]
        wild[place] = 3.0
        assert decide(wild, THREE_PERCENT).verdict != "FAIL"


@settings(deadline=None)
@given(DIFFERENCES)
def test_swapped_sides_mirror_the_interval(differences: list[float]) -> None:
    low, high = confidence_sequence(differences)
    other_low, other_high = confidence_sequence([-d for d in differences])
    assert (other_low, other_high) == (-high, -low)


def test_the_interval_only_shrinks() -> None:
    rng = random.Random(2)
    differences = [rng.gauss(0.01, 0.02) for _ in range(30)]
    bounds = [confidence_sequence(differences[:n]) for n in range(1, 31)]
    for (low, high), (next_low, next_high) in itertools.pairwise(bounds):
        assert next_low >= low
        assert next_high <= high
    assert bounds[-1][1] - bounds[-1][0] < 0.06


def test_the_interval_covers_at_every_moment() -> None:
    """A 99 % sequence misses the truth at any of 25 moments in at most 1 % of runs (here 0 to 6 of 200)."""
    rng, missed = random.Random(3), 0
    for _ in range(200):
        low, high = confidence_sequence([rng.gauss(0.02, 0.015) for _ in range(25)])
        missed += not low <= 0.02 <= high
    assert missed <= 6


def by_definition(differences: list[float], stake: float, alpha: float = 0.01) -> tuple[float, float]:
    """Intersect the intervals after each unit, each found by its own bisection: quadratic in the units."""
    scale = scales(differences, 0.02)

    def lower(units: list[float]) -> float:
        if len(units) * math.log1p(stake) < math.log(2 / alpha):
            return -FARTHEST
        low, high = -FARTHEST, max(units)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            rejected = evidence([d - middle for d in units], scale[: len(units)], stake) >= 2 / alpha
            low, high = (middle, high) if rejected else (low, middle)
        return low

    ends = [differences[:n] for n in range(1, len(differences) + 1)]
    return max(map(lower, ends)), min(-lower([-d for d in units]) for units in ends)


def decided_by_definition(differences: list[float], test: Test) -> Decision:
    """Look at the evidence after each unit, all of it computed again."""
    scale, against, in_favour = scales(differences, test.prior_sd), 1.0, 1.0
    for n in range(1, min(len(differences), test.cap) + 1):
        against = evidence(differences[:n], scale[:n], test.stake)
        in_favour = evidence([test.margin - d for d in differences[:n]], scale[:n], test.stake)
        if n >= test.least and in_favour >= test.cells / test.alpha_pass:
            return Decision("PASS", n, against, in_favour)
        if n >= test.least and against >= test.cells / test.alpha_fail:
            return Decision("FAIL", n, against, in_favour)
    return Decision(None, min(len(differences), test.cap), against, in_favour)


SERIES = {
    "normal": lambda draw: draw.gauss(0.01, 0.02),
    "bursts": lambda draw: draw.gauss(0, 0.0001) * draw.choice((1, 100)),
    "ties": lambda draw: round(draw.gauss(0, 1), 1),
    "three values": lambda draw: draw.choice((-0.02, 0.0, 0.02)),
    "far off": lambda draw: draw.uniform(-30, 30),
    "beyond the farthest": lambda draw: draw.uniform(-20, -19),
    "constant": lambda draw: 0.05,
}


@pytest.mark.parametrize("stake", [STAKE, WHOLE_STAKE])
@pytest.mark.parametrize("kind", SERIES)
def test_the_linear_search_finds_what_the_definition_says(kind: str, stake: float) -> None:
    """To the last bit: figures of earlier runs are verified by computing them again."""
    draw = random.Random(kind)
    for count in (1, 7, 8, 12, 40):
        differences = [SERIES[kind](draw) for _ in range(count)]
        assert confidence_sequence(differences, stake=stake) == by_definition(differences, stake)
        for test in (replace(THREE_PERCENT, stake=stake), Test(margin=0.005, cap=9, stake=stake)):
            assert decide(differences, test) == decided_by_definition(differences, test)


def test_units_that_grow_one_by_one_have_the_interval_of_the_definition() -> None:
    """Each is the largest so far: the bisection of each beginning has an interval of its own."""
    growing = [0.01 * number for number in range(30)]
    assert confidence_sequence(growing) == by_definition(growing, STAKE)


def test_a_thousand_units_take_no_time() -> None:
    """Quadratic, it took 37 s, and the decision 3 s more."""
    draw = random.Random(7)
    differences = [draw.gauss(0.01, 0.02) for _ in range(1000)]
    began = time.process_time()
    confidence_sequence(differences)
    decide([0.0] * 1000, Test(margin=1e-9, cap=1000))
    assert time.process_time() - began < 2


def test_failing_and_passing_agree_with_the_interval() -> None:
    """FAIL at 0.5 % excludes "no change" from the 99 % sequence, which tests each side at 0.5 %."""
    failing = [0.05, 0.04, 0.06, 0.05, 0.045, 0.055, 0.05, 0.05, 0.05, 0.05]
    assert decide(failing, THREE_PERCENT).verdict == "FAIL"
    assert confidence_sequence(failing)[0] > 0


def test_scipy_sees_the_same_direction() -> None:
    """Wilcoxon's signed-rank test at a fixed number of units, on every gate that failed."""
    rng, failed = random.Random(4), 0
    for _ in range(60):
        differences = [rng.gauss(0.03, 0.015) for _ in range(40)]
        decision = decide(differences, THREE_PERCENT)
        if decision.verdict == "FAIL":
            failed += 1
            assert stats.wilcoxon(differences[: decision.at], alternative="greater").pvalue < 0.05
    assert failed > 50


# ---- all gates at once, as the power calculation does it ----------------------------------------------


@pytest.mark.parametrize("stake", [STAKE, WHOLE_STAKE])
def test_the_vectorised_rule_is_the_same_rule(stake: float) -> None:
    test = replace(THREE_PERCENT, stake=stake)
    draw = np.random.default_rng(5)
    units = np.concatenate([draw.normal(shift, 0.04, (60, 40)) for shift in (-0.03, 0.0, 0.015, 0.03, 0.06)])
    words = {"FAIL": -1, "PASS": 1, None: 0}
    one_by_one = [words[decide(list(row), test).verdict] for row in units.tolist()]
    assert power.verdicts(units, test).tolist() == one_by_one
    assert set(one_by_one) == {-1, 0, 1}


GATES = 3000


def noise(kind: str, draw: np.random.Generator) -> np.ndarray:
    """Units without a change, symmetric about 0 as randomised slots make them: the short form of T2."""
    shape = (GATES, 40)
    signs = draw.choice([-1.0, 1.0], shape)
    normal = draw.normal(0, 0.02, shape)
    if kind == "bursts":
        return normal * np.where(draw.random(shape) < 0.1, 5.6, 1.0)
    if kind == "bimodal":
        return normal + 0.02 * draw.choice([-1.0, 1.0], shape)
    if kind == "t3":
        return 0.015 * draw.standard_t(3, shape)
    if kind == "cauchy":
        return 0.01 * draw.standard_cauchy(shape)
    if kind == "ramp":
        return normal * np.linspace(0.3, 3, 40)
    if kind == "slots":
        return signs * np.abs(normal + 0.03)
    if kind == "autocorrelated sizes":
        sizes = np.abs(np.cumsum(draw.normal(0, 0.01, shape), axis=1)) + 0.002
        return signs * sizes
    return normal


@pytest.mark.parametrize(
    "kind", ["normal", "bursts", "bimodal", "t3", "cauchy", "ramp", "slots", "autocorrelated sizes"]
)
def test_false_alarms_by_noise(kind: str) -> None:
    units = noise(kind, np.random.default_rng(6))
    failed = (power.verdicts(units, THREE_PERCENT) == -1).mean()
    assert failed <= 0.006


def test_power_at_the_margin() -> None:
    assert power.failing_share(math.log(1.03), 0.01, THREE_PERCENT) >= 0.95
    assert power.failing_share(0.0, 0.01, THREE_PERCENT) <= 0.005
    assert power.smallest_detectable(0.01, THREE_PERCENT) in (0.025, 0.03)
    assert power.smallest_detectable(0.5, THREE_PERCENT, (0.01, 0.02)) is None


@pytest.mark.parametrize(("cells", "units"), [(1, 9), (2, 10), (3, 10), (5, 11), (6, 12)])
def test_no_gate_fails_in_fewer_units_than_the_least_cap(cells: int, units: int) -> None:
    """Even if every unit is as bad as it can be."""
    worst = [1.0] * units
    assert least_cap(cells) == units
    assert decide(worst[:-1], Test(margin=0.03, cells=cells, cap=units - 1)).verdict is None
    assert decide(worst, Test(margin=0.03, cells=cells, cap=units)).verdict == "FAIL"


@pytest.mark.parametrize("increase", [0.0, 0.5])
def test_it_is_decided_after_the_sixth_unit_at_the_earliest(increase: float) -> None:
    wide = Test(margin=math.log(1.5), prior_sd=0.01, alpha_fail=0.05, alpha_pass=0.05)
    assert decide([increase] * 5, wide).verdict is None
    assert decide([increase] * 30, wide).at == wide.least == 6
