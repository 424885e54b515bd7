"""The passes of a server from closed loops, against a server whose passes are known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean

import pytest
from plain_server import Asked, PlainServer

from bench.errors import UsageError
from bench.plan.arrivals import poisson
from bench.plan.queue_simulation import simulate
from bench.plan.server_passes import UsersRow, server_passes
from bench.stats.intervals import quantile

STEPS_S = {1: 0.02, 2: 0.021, 3: 0.04, 4: 0.041, 5: 0.06, 6: 0.061, 7: 0.095, 8: 0.097}
LENGTHS = (64, 32)
PROMPTS: dict[str, Callable[[int], float]] = {
    "by the token": lambda tokens: 0.003 * tokens,
    "mostly once a pass": lambda tokens: 0.1 + 0.0005 * tokens,
}


def rows_of(server: PlainServer, users: Sequence[int], pause_s: float = 0.0) -> list[UsersRow]:
    """Measure closed loops of a server, as a run does."""
    found = []
    for count in users:
        requests = max(24, 2 * count)
        per_s, ttft_s, tpot_s, _done = server.closed_loop(count, requests, *LENGTHS, pause_s)
        found.append(UsersRow(count, requests, per_s, ttft_s, tpot_s))
    return found


def jittery(times: Callable[[int], float], by: float, seed: int) -> Callable[[int], float]:
    """The same times with chance in each of them."""
    draw = random.Random(seed)
    return lambda number: times(number) * draw.uniform(1 - by, 1 + by)


@pytest.mark.parametrize("pause_s", [0.0, 0.001], ids=["together", "one by one"])
@pytest.mark.parametrize("prompts", PROMPTS)
def test_known_passes_are_found_again(prompts: str, pause_s: float) -> None:
    """Steps on no straight line, and prompts that share much of a pass or nothing; whether an idle server
    begins with the first request alone is found too."""
    server = PlainServer(STEPS_S.__getitem__, PROMPTS[prompts], places=4)
    found = server_passes(rows_of(server, (1, 2, 3, 4, 8), pause_s), LENGTHS)
    assert dict(found.steps.steps_s) == pytest.approx({n: STEPS_S[n] for n in (1, 2, 3, 4)}, rel=0.03)
    assert found.steps.seconds(0, 0, 64) == pytest.approx(PROMPTS[prompts](64), rel=0.01)
    assert found.steps.seconds(0, 0, 256) == pytest.approx(PROMPTS[prompts](256), rel=0.03)
    for check in found.checks:
        assert (check.per_s, check.ttft, check.tpot) == pytest.approx((1, 1, 1), rel=0.03)


@pytest.mark.parametrize("load", [0.5, 0.8])
@pytest.mark.parametrize("prompts", PROMPTS)
def test_a_queue_is_predicted_from_closed_loops_alone(prompts: str, load: float) -> None:
    """The server has a chance of 5 % in each pass. Random arrivals are not looked at before. Near its
    capacity a queue lives from its luck, so the predictions of four servers are asked for their mean."""
    found = [_predicted(prompts, load, seed) for seed in range(4)]
    for ratios in zip(*found, strict=True):
        assert math.exp(fmean(map(math.log, ratios))) == pytest.approx(1, rel=0.05)
        assert all(0.75 < ratio < 1 / 0.75 for ratio in ratios)


def _predicted(prompts: str, load: float, seed: int) -> list[float]:
    """Return predicted ÷ seen of one server: TTFT and whole time, the median and the 95th percentile."""
    server = PlainServer(
        jittery(STEPS_S.__getitem__, 0.05, seed), jittery(PROMPTS[prompts], 0.05, 100 + seed), places=4
    )
    rows = rows_of(server, (1, 2, 3, 4, 8), 0.001)
    steps = server_passes(rows, LENGTHS).steps
    asked = poisson(load * rows[-1].per_s, 1500, *LENGTHS, seed=seed)
    done = server.answer([Asked(one.arrival_s, *LENGTHS) for one in asked])
    replies = simulate(asked, steps).replies
    seen = sorted(done, key=lambda one: one.arrival_s)[len(asked) - len(replies) :]
    pairs = (
        ([one.ttft_s for one in replies], [one.ttft_s for one in seen]),
        ([one.last_s - one.request.arrival_s for one in replies], [one.latency_s for one in seen]),
    )
    return [
        quantile(sorted(mine), place) / quantile(sorted(theirs), place)
        for mine, theirs in pairs
        for place in (0.5, 0.95)
    ]


@pytest.mark.parametrize("places", [1, 2, 4])
def test_the_places_of_a_server_are_found(places: int) -> None:
    """More users than places wait, and their steps take no longer."""
    server = PlainServer(STEPS_S.__getitem__, PROMPTS["by the token"], places)
    found = server_passes(rows_of(server, (1, 2, 4, 8)), LENGTHS)
    assert found.steps.most == places
    assert dict(found.steps.steps_s) == pytest.approx(
        {n: STEPS_S[n] for n in (1, 2, 4) if n <= places}, rel=1e-4
    )
    assert ("one request after the other" in found.words) == (places == 1)


def test_what_is_interpolated_is_said() -> None:
    server = PlainServer(STEPS_S.__getitem__, PROMPTS["by the token"], places=8)
    found = server_passes(rows_of(server, (1, 4, 8)), LENGTHS)
    assert "steps of 1, 4 and 8 sequences at once from closed loops, others interpolated" in found.words
    assert "prompts from the row of 1 user" in found.words
    assert found.steps.seconds(2, 0, 0) == pytest.approx(0.02 + 0.021 / 3, rel=1e-4)
    several = server_passes(rows_of(server, (4,)), LENGTHS)
    assert "others interpolated" not in several.words
    assert "fewer taken as 4" in several.words
    assert "no row has 1 user" in several.words
    (row,) = rows_of(server, (1,))
    alone = server_passes([row], LENGTHS)
    assert "measured with 1 user only" in alone.words
    assert alone.steps.steps_s == ((1, pytest.approx(0.02)),)


def test_noise_never_makes_a_larger_step_shorter() -> None:
    """Four users got more than is possible if a step of four takes as long as one of one."""
    rows = [UsersRow(1, 8, 1.0, 0.1, 0.9 / 31), UsersRow(4, 8, 9.0, 0.2, 0.9 / 31)]
    steps = [seconds for _size, seconds in server_passes(rows, LENGTHS).steps.steps_s]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("rows", "lengths"),
    [
        ([], (64, 32)),
        ([UsersRow(1, 8, 1.0, 0.1, 0.01)], (64, 1)),
        ([UsersRow(1, 8, 0.0, 0.1, 0.01)], (64, 32)),
    ],
    ids=["no rows", "one token", "no rate"],
)
def test_a_server_needs_times(rows: list[UsersRow], lengths: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="closed loops"):
        server_passes(rows, lengths)
