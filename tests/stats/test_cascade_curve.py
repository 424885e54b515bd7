"""The curve of a cascade against hand arithmetic and numpy, and what a chosen threshold promises."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from bench.stats import cascade_curve, thresholds
from bench.stats.cascade_curve import Item

# Doubts 4 to 1; the two in doubt are wrong at the edge, and the large model has three of four.
FOUR = (
    Item(4.0, edge=0, cloud=1, edge_usd=1, cloud_usd=10, edge_s=0.1, cloud_s=1.0),
    Item(3.0, edge=0, cloud=1, edge_usd=1, cloud_usd=20, edge_s=0.1, cloud_s=1.0),
    Item(2.0, edge=1, cloud=0, edge_usd=1, cloud_usd=10, edge_s=0.1, cloud_s=1.0),
    Item(1.0, edge=0, cloud=1, edge_usd=1, cloud_usd=10, edge_s=0.1, cloud_s=1.0),
)


def made(
    n: int, draw: random.Random, knows: float = 2.0, edge: float = 0.5, cloud: float = 0.8
) -> list[Item]:
    """Items whose doubt tells, the better the larger ``knows`` is, which answers of the edge are wrong."""
    found = []
    for _ in range(n):
        right = draw.random() < edge
        found.append(
            Item(
                doubt=draw.gauss(0 if right else knows, 1),
                edge=float(right),
                cloud=float(draw.random() < cloud),
                edge_usd=abs(draw.gauss(1e-6, 2e-7)),
                cloud_usd=abs(draw.gauss(1e-5, 2e-6)),
            )
        )
    return found


def test_the_curve_by_hand() -> None:
    points = cascade_curve.curve(FOUR)
    assert [p.escalated for p in points] == [0, 0.25, 0.5, 0.75, 1]
    assert [p.usd for p in points] == pytest.approx([1, 3.5, 8.5, 11, 13.5])
    assert [p.quality for p in points] == pytest.approx([0.25, 0.5, 0.75, 0.5, 0.75])
    assert [p.seconds for p in points] == pytest.approx([0.1, 0.35, 0.6, 0.85, 1.1])
    assert [p.limit for p in points[1:4]] == [3.5, 2.5, 1.5]


def test_the_ends_are_each_model_alone_and_every_point_is_what_its_limit_gives() -> None:
    items = made(101, random.Random(1))
    items += [replace(one, doubt=round(one.doubt)) for one in items]  # with ties
    points = cascade_curve.curve(items)
    assert points[0].quality == pytest.approx(np.mean([one.edge for one in items]))
    assert points[0].usd == pytest.approx(np.mean([one.edge_usd for one in items]))
    assert points[-1].quality == pytest.approx(np.mean([one.cloud for one in items]))
    assert points[-1].usd == pytest.approx(np.mean([one.edge_usd + one.cloud_usd for one in items]))
    for point in points:
        sent = np.array([one.doubt > point.limit for one in items])
        assert point.escalated == pytest.approx(sent.mean())
        right = np.where(sent, [one.cloud for one in items], [one.edge for one in items])
        assert point.quality == pytest.approx(right.mean())
        again = cascade_curve.at(items, point.limit)
        assert (again.usd, again.quality) == pytest.approx((point.usd, point.quality))
    assert len(points) == 1 + len({one.doubt for one in items})


def test_routellms_figures_by_hand() -> None:
    """PGR is 0, 0.5, 1, 0.5, 1 at 0, 25, 50, 75 and 100 %."""
    points = cascade_curve.curve(FOUR)
    assert [cascade_curve.pgr(points, p.quality) for p in points] == pytest.approx([0, 0.5, 1, 0.5, 1])
    assert cascade_curve.apgr(points) == pytest.approx(0.25 * (0.25 + 0.75 + 0.75 + 0.75))
    assert cascade_curve.cpt(points, 0.5) == 0.25
    assert cascade_curve.cpt(points, 0.8) == 0.5


def test_apgr_is_numpys_trapezoid_and_half_for_a_rule_that_knows_nothing() -> None:
    items = made(20_000, random.Random(2), knows=0.0)
    points = cascade_curve.curve(items)
    weak, strong = points[0].quality, points[-1].quality
    heights = [(p.quality - weak) / (strong - weak) for p in points]
    assert cascade_curve.apgr(points) == pytest.approx(np.trapezoid(heights, [p.escalated for p in points]))
    assert cascade_curve.apgr(points) == pytest.approx(0.5, abs=0.02)
    assert (cascade_curve.apgr(cascade_curve.curve(made(20_000, random.Random(2), knows=3.0))) or 0) > 0.8


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    same = [Item(float(n), 1, 1, 1, 10) for n in range(10)]
    points = cascade_curve.curve(same)
    assert cascade_curve.pgr(points, 1.0) is None
    assert cascade_curve.apgr(points) is None
    assert cascade_curve.cpt(points, 0.5) is None
    assert thresholds.choose(same, 0.8) is None
    assert thresholds.chosen(same, 0.8) is None
    assert cascade_curve.summed_up(same, (0.5, 0.8)) == [None, None, None]
    worse = [replace(one, edge=1.0, cloud=0.0) for one in same]
    assert cascade_curve.summed_up(worse, (0.5,)) == [None, None]


def test_a_resample_in_arrays_is_the_plain_loop() -> None:
    draw = random.Random(6)
    for _ in range(20):
        items = [replace(one, doubt=round(one.doubt, 1)) for one in draw.choices(made(40, draw), k=40)]
        items.sort(key=lambda one: -one.doubt)
        points = cascade_curve.curve(items)
        expected = [cascade_curve.apgr(points), *(cascade_curve.cpt(points, share) for share in (0.5, 0.8))]
        held = np.array([[getattr(one, key) for one in items] for key in ("doubt", "edge", "cloud")])
        found = cascade_curve.of_resample(held, (0.5, 0.8))
        assert found == (pytest.approx(expected) if expected[0] is not None else [])


def test_bounds_hold_the_value_and_narrow_with_more_items() -> None:
    widths = []
    for n in (100, 400):
        for found in cascade_curve.summed_up(made(n, random.Random(3)), (0.5, 0.8)):
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            assert found.low <= found.value <= found.high
            widths.append(found.high - found.low)
    assert sum(widths[3:]) < sum(widths[:3])


def test_a_bootstrap_holds_the_truth() -> None:
    """The true APGR is that of very many items; 95 % intervals of 60 samples hold it in most."""
    truth = cascade_curve.apgr(cascade_curve.curve(made(40_000, random.Random(4)))) or 0
    found = [cascade_curve.summed_up(made(150, random.Random(seed)), ())[0] for seed in range(60)]
    known = [one for one in found if one is not None and one.low is not None and one.high is not None]
    assert len(known) >= 55
    assert sum(one.low <= truth <= one.high for one in known) >= 0.88 * len(known)


def test_quality_that_falls_is_found_and_noise_is_not() -> None:
    good = [Item(2.0 + n / 100, 0, 1, 1, 1) for n in range(50)]
    bad = [Item(n / 100, 1, 0, 1, 1) for n in range(50)]
    falls = cascade_curve.falls(good + bad)
    assert (0.5, 1.0) in falls
    assert all(a >= 0.3 for a, _b in falls)  # further back, as many are gained as lost
    noise = [cascade_curve.falls(made(200, random.Random(seed), knows=0.0)) for seed in range(50)]
    assert sum(map(bool, noise)) <= 2


def test_a_threshold_is_the_cheapest_that_reaches_its_share() -> None:
    assert thresholds.choose(FOUR, 0.0) == cascade_curve.curve(FOUR)[0]
    assert thresholds.choose(FOUR, 0.8) == cascade_curve.curve(FOUR)[2]
    assert thresholds.choose(FOUR, 0.5) == cascade_curve.curve(FOUR)[1]


def test_halves_share_nothing_and_are_the_same_each_time() -> None:
    items = made(41, random.Random(5))
    ours, theirs = thresholds.halves(items)
    assert (len(ours), len(theirs)) == (20, 21)
    assert sorted(map(id, ours + theirs)) == sorted(map(id, items))
    assert thresholds.halves(items) == (ours, theirs)


@pytest.mark.parametrize(("knows", "edge", "cloud"), [(2.0, 0.5, 0.8), (1.0, 0.3, 0.6), (0.5, 0.6, 0.9)])
def test_what_is_promised_is_kept_in_nine_of_ten_resamplings(knows: float, edge: float, cloud: float) -> None:
    """Both promises together, with the threshold chosen anew each time."""
    kept = []
    for seed in range(120):
        pick = thresholds.chosen(made(240, random.Random(1000 + seed), knows, edge, cloud), 0.8, seed)
        if pick is not None:
            assert pick.others == 120
            kept.append(pick.kept)
    assert len(kept) >= 110
    assert sum(usd for usd, _quality in kept) >= 0.9 * len(kept)
    assert sum(quality for _usd, quality in kept) >= 0.9 * len(kept)


def test_a_promise_by_hand() -> None:
    found = thresholds.promised([4.0, 5.0, 6.0], 6)
    half = 4.302653 * 1.0 * math.sqrt(1 / 3 + 1 / 6)
    assert (found.low, found.value, found.high) == pytest.approx((5 - half, 5, 5 + half), rel=1e-6)
    below = thresholds.promised([1.0, 2.0, 3.0], 6)
    factor = math.exp(half / 2)
    assert (below.low, below.high) == pytest.approx((2 / factor, 2 * factor), rel=1e-6)
    sure = thresholds.promised([1.0] * 20, 20, binary=True)
    assert sure.low is not None
    assert sure.low < 0.9
    assert sure.high == 1.0


@pytest.mark.parametrize(("count", "enough"), [(2, False), (3, False), (4, True)])
def test_each_half_needs_two_items(count: int, enough: bool) -> None:
    items = [Item(float(n), edge=0, cloud=1, edge_usd=1, cloud_usd=10) for n in range(count)]
    assert (thresholds.chosen(items, 0.8) is not None) is enough


def test_right_answers_alone_promise_no_certainty() -> None:
    """Two more right and two more wrong answers (Agresti and Coull): of eight right ones, 10 of 12."""
    found = thresholds.promised([1.0] * 8, 16, binary=True)
    half = float(t.ppf(0.975, 7)) * math.sqrt(10 / 12 * 2 / 12 * (1 / 8 + 1 / 16))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - half)
    wrong = thresholds.promised([0.0] * 8, 16, binary=True)
    assert (wrong.low, wrong.high) == pytest.approx((0.0, half))
