"""The search for a cut against a plain loop, and its limits: a link that costs nothing, and one that does."""

from __future__ import annotations

import random

import pytest

from bench.link import NO_DELAY, LinkSettings
from bench.plan import cuts
from bench.plan.cuts import Cut, Moved, SideTimes
from bench.records import SplitPhase, SplitWork

MOVED = Moved(activations=2320, ids=20, down=28)
EDGE, CLOUD = SideTimes(0.001, 0.010), SideTimes(0.002, 0.001)
SLOW = LinkSettings(round_trip_ms=400, megabits_per_s=1)


def test_the_best_is_that_of_a_plain_loop() -> None:
    draws = random.Random(4)
    for _ in range(200):
        layers = draws.randint(1, 12)
        edge, cloud = (SideTimes(draws.random(), draws.random()) for _ in range(2))
        link = LinkSettings(round_trip_ms=1000 * draws.random(), megabits_per_s=0.001 + draws.random())
        both_s = {}
        for k in range(layers):
            up = MOVED.activations if k else MOVED.ids
            crossing_s = link.round_trip_ms / 1000 + 8 * (up + MOVED.down) / link.bits_per_s("up")
            own_s = edge.once_s + k * edge.layer_s if k else 0
            both_s[k] = own_s + cloud.once_s + (layers - k) * cloud.layer_s + crossing_s
        both_s[layers] = edge.once_s + layers * edge.layer_s + cloud.once_s * edge.layer_s / cloud.layer_s
        found = cuts.best(cuts.every_cut(layers, edge, cloud, link, MOVED))
        assert found.total_s == pytest.approx(min(both_s.values()))
        assert both_s[found.edge_layers] == pytest.approx(found.total_s)


def test_a_fast_cloud_behind_a_free_link_does_all() -> None:
    found = cuts.every_cut(30, EDGE, CLOUD, NO_DELAY, MOVED)
    assert cuts.best(found) == Cut(0, 0.0, pytest.approx(0.032), 0.0, 20, 28)  # type: ignore[arg-type]


def test_a_slow_link_leaves_all_at_the_edge() -> None:
    found = cuts.best(cuts.every_cut(30, EDGE, CLOUD, SLOW, MOVED))
    assert found.edge_layers == 30
    assert found.total_s == pytest.approx(
        0.001 + 0.3 + 10 * 0.002
    )  # what the cloud does once, ten times slower
    assert (found.cloud_s, found.link_s, found.sent_bytes) == (0, 0, 0)


def test_of_equally_fast_cuts_the_one_with_the_fewest_bytes_is_taken() -> None:
    same = SideTimes(0.0, 0.01)
    assert cuts.best(cuts.every_cut(4, same, same, NO_DELAY, MOVED)).edge_layers == 4


def row(edge_layers: int, edge_s: float, cloud_s: float, passes: int = 10) -> SplitWork:
    step = SplitPhase(passes, passes, passes * edge_s, passes * cloud_s, 0, 0, 0, passes * 2320, passes * 28)
    return SplitWork(edge_layers, 30 - edge_layers, (1, 2), 576, SplitPhase(), step)


def test_times_come_from_measured_rows() -> None:
    rows = [row(k, EDGE.of(k), CLOUD.of(30 - k)) for k in (5, 10, 25)]
    edge, cloud = cuts.side_times(rows)
    assert (edge.once_s, edge.layer_s) == pytest.approx((0.001, 0.010))
    assert (cloud.once_s, cloud.layer_s) == pytest.approx((0.002, 0.001))
    assert cuts.of_a_sequence(rows[0]) == MOVED
    assert edge.slower(3).of(2) == pytest.approx(3 * 0.021)


@pytest.mark.parametrize("at", [[], [5], [5, 5], [0, 5]])
def test_one_cut_says_nothing_of_a_layer(at: list[int]) -> None:
    with pytest.raises(ValueError, match="two rows"):
        cuts.side_times([row(k, 1.0, 1.0) for k in at])
