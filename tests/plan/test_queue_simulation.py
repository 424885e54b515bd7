"""The queue of one server: against formulas of queueing theory, another simulator, and its own invariants."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from affine_steps import affine_steps
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_server import Asked, PlainServer

from bench.errors import UsageError
from bench.models.registry import find_model
from bench.plan import queue_simulation
from bench.plan.arrivals import Request, poisson
from bench.plan.bytes_and_flop import Loaded
from bench.plan.pass_times import MeasuredSteps, RooflineSteps, measured_steps
from bench.plan.queue_simulation import closed_loop, simulate
from bench.plan.roofline import Ceilings, prefill

ONE_AT_A_TIME = affine_steps(prompt_token_s=0.001, fixed_s=0.01, each_s=0.0, most=1)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_waiting_is_that_of_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: with a constant service S the mean wait is load · S / (2 (1 − load))."""
    service_s = 10 * 0.001
    found = simulate(poisson(load / service_s, 100_000, 10, 1), ONE_AT_A_TIME)
    wait = fmean(reply.ttft_s for reply in found.replies) - service_s
    assert wait == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.1)
    assert found.busy_share == pytest.approx(load, rel=0.02)


def test_a_request_alone_takes_its_own_time() -> None:
    (reply,) = simulate([Request(5.0, 20, 4)], ONE_AT_A_TIME).replies
    assert reply.ttft_s == pytest.approx(0.02)
    assert reply.tpot_s == pytest.approx(0.01)
    assert reply.last_s == pytest.approx(5.0 + 0.02 + 3 * 0.01)


def test_a_reply_of_one_token_has_no_further_tokens() -> None:
    (reply,) = simulate([Request(0.0, 20, 1)], ONE_AT_A_TIME).replies
    assert reply.tpot_s is None
    assert reply.last_s == reply.first_s


def test_sequences_share_a_pass() -> None:
    """Two requests at once, decoded together: each step is as long as for one, so both end together."""
    together = affine_steps(0.0, 0.01, 0.0, most=2)
    apart = affine_steps(0.0, 0.01, 0.0, most=1)
    requests = [Request(0.0, 1, 11), Request(0.0, 1, 11)]
    assert max(reply.last_s for reply in simulate(requests, together).replies) == pytest.approx(0.1)
    assert max(reply.last_s for reply in simulate(requests, apart).replies) == pytest.approx(0.2)


def test_a_prompt_in_parts_does_not_stop_the_others() -> None:
    """A long prompt read whole stops a running sequence all that time, in parts for that of a part."""
    requests = [Request(0.0, 1, 200), Request(0.05, 1000, 2)]
    slowest = {}
    for chunk in (None, 100):
        steps = affine_steps(0.001, 0.001, 0.0, most=2, chunk=chunk)
        first = simulate(requests, steps).replies[0]
        slowest[chunk] = first.last_s
    assert slowest[None] == pytest.approx(0.001 + 1.0 + 199 * 0.001, rel=0.02)
    assert slowest[100] == pytest.approx(slowest[None], rel=0.02)  # the work is the same, the gaps are not
    parts = affine_steps(0.001, 0.001, 0.0, most=2, chunk=100)
    assert simulate(requests, parts).replies[1].ttft_s > 1.0


def test_a_long_prompt_in_parts_costs_what_it_costs_whole() -> None:
    """Each part looks at all that was read before it: the FLOP of the parts sum to those of the prompt."""
    loaded = Loaded(find_model("llama-3.1-8b").architecture, 16)
    ceilings = Ceilings(1e15, 989e12)  # arithmetic alone
    spent = {}
    for chunk in (None, 2048):
        steps = RooflineSteps(loaded, ceilings, 8, chunk, 1.0, 1.0)
        (reply,) = simulate([Request(0.0, 65_536, 1)], steps).replies
        spent[chunk] = reply.ttft_s
    assert spent[2048] == pytest.approx(spent[None], rel=0.01)
    assert spent[None] == pytest.approx(prefill(loaded, ceilings, 65_536).seconds, rel=1e-9)


def test_against_a_simulator_of_events() -> None:
    """The same server as processes of simpy: each request takes the machine for all its passes."""
    import simpy

    requests = poisson(20, 400, 30, 6, seed=3)
    read_s, step_s = 30 * 0.001, 0.01
    env, ended = simpy.Environment(), [0.0] * len(requests)

    def serve(index: int, request: Request, machine: simpy.Resource) -> object:
        yield env.timeout(request.arrival_s)
        with machine.request() as turn:
            yield turn
            yield env.timeout(read_s + 5 * step_s)
        ended[index] = env.now

    machine = simpy.Resource(env, capacity=1)
    for index, request in enumerate(requests):
        env.process(serve(index, request, machine))
    env.run()
    steps = affine_steps(0.001, step_s, 0.0, most=1)
    replies = simulate(requests, steps).replies
    theirs = ended[len(requests) - len(replies) :]
    assert [reply.last_s for reply in replies] == pytest.approx(theirs)


@settings(deadline=None, max_examples=60)
@given(
    rate=st.floats(0.1, 100),
    n_in=st.integers(1, 60),
    n_out=st.integers(1, 12),
    most=st.integers(1, 8),
    chunk=st.sampled_from([None, 1, 16, 512]),
    seed=st.integers(0, 5),
)
def test_what_holds_for_every_queue(
    rate: float, n_in: int, n_out: int, most: int, chunk: int | None, seed: int
) -> None:
    requests = poisson(rate, 60, n_in, n_out, seed)
    steps = affine_steps(0.001, 0.004, 0.001, most, chunk)
    found = simulate(requests, steps)
    fastest_s = steps.seconds(1, 0, 0)
    for reply in found.replies:
        assert reply.ttft_s >= n_in * 0.001 * (1 - 1e-9)
        assert reply.last_s - reply.first_s >= (n_out - 1) * fastest_s * (1 - 1e-9)
        assert math.isfinite(reply.last_s)
    # First come, first served: first tokens come in the order of arrival.
    firsts = [reply.first_s for reply in found.replies]
    assert firsts == sorted(firsts)
    assert 0 < found.busy_share <= 1 + 1e-9
    assert simulate(requests, steps) == found


def test_two_rates_have_the_same_gaps() -> None:
    slow, fast = (poisson(rate, 10, 1, 1) for rate in (1, 4))
    assert [one.arrival_s for one in slow] == pytest.approx([4 * one.arrival_s for one in fast])


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_above_0(rate: float) -> None:
    with pytest.raises(UsageError, match="rate of requests"):
        poisson(rate, 1, 1, 1)


def test_a_step_of_a_measured_batch_size_takes_what_was_measured() -> None:
    """A step of 5 sequences is twice as long as one of 4: no straight line goes through these."""
    found = measured_steps([(16, 0.06), (1, 0.01), (4, 0.011), (4, 0.013), (5, 0.024)], 0.001)
    assert [found.seconds(size, 999, 0) for size in (0, 1, 4, 5, 16)] == [
        0,
        0.01,
        pytest.approx(0.012),
        0.024,
        0.06,
    ]
    assert found.seconds(2, 0, 0) == pytest.approx(0.01 + 0.002 / 3)
    assert found.seconds(8, 0, 0) == pytest.approx(0.024 + 3 * 0.036 / 11)
    assert found.seconds(4, 0, 7) == pytest.approx(0.012 + 0.007)
    assert found.most == 16
    one = measured_steps([(4, 0.02)], 0.001)
    assert (one.seconds(1, 0, 0), one.seconds(4, 0, 0), one.most) == (0.02, 0.02, 4)


@pytest.mark.parametrize("points", [[], [(0, 1.0)], [(1, 0.0)]])
def test_steps_need_a_time(points: list[tuple[int, float]]) -> None:
    with pytest.raises(UsageError, match="above 0"):
        measured_steps(points, 0.001)


@pytest.mark.parametrize("chunk", [None, 16])
def test_one_at_a_time_is_what_passes_give(chunk: int | None) -> None:
    """The short way for a server with one place, against its passes, with requests of several lengths."""
    steps = affine_steps(0.001, 0.02, 0.001, 1, chunk)
    lengths = [(48, 16), (7, 1), (100, 40)]
    requests = [
        Request(one.arrival_s, *lengths[index % 3])
        for index, one in enumerate(poisson(1.0, 300, 1, 1, seed=3))
    ]
    server = queue_simulation._Server(requests, steps)
    while server.work():
        pass
    found = queue_simulation.simulate(requests, steps)
    skipped = len(requests) - len(found.replies)
    assert [reply.first_s for reply in found.replies] == pytest.approx(server.first_s[skipped:])
    assert [reply.last_s for reply in found.replies] == pytest.approx(server.last_s[skipped:])
    assert found.busy_share == pytest.approx(server.busy_s / server.now_s)


UNEVEN = {1: 0.02, 2: 0.021, 3: 0.04, 4: 0.041, 5: 0.06, 6: 0.061, 7: 0.095, 8: 0.097}  # seconds of a step


@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_against_a_plain_loop_over_passes(load: float) -> None:
    """Every token of a server whose step is on no straight line, at random arrivals."""
    plain = PlainServer(UNEVEN.__getitem__, lambda tokens: 0.01 + 0.002 * tokens, places=8)
    steps = MeasuredSteps(0.002, tuple(UNEVEN.items()), 2048, prompt_fixed_s=0.01)
    asked = poisson(load * 3.2, 600, 40, 24, seed=4)
    done = plain.answer([Asked(one.arrival_s, 40, 24) for one in asked])
    theirs = sorted(done, key=lambda one: one.arrival_s)[60:]
    replies = simulate(asked, steps).replies
    assert [one.first_s for one in replies] == pytest.approx([one.tokens_s[0] for one in theirs])
    assert [one.last_s for one in replies] == pytest.approx([one.tokens_s[-1] for one in theirs])


@pytest.mark.parametrize(("apart_s", "pause_s"), [(0.0, 0.0), (1e-6, 1e-3)], ids=["together", "one by one"])
@pytest.mark.parametrize("users", [1, 3, 8, 13])
def test_users_against_a_plain_loop_over_passes(users: int, apart_s: float, pause_s: float) -> None:
    """Users who wait for their answers; more of them than the server has places wait for a place."""
    plain = PlainServer(UNEVEN.__getitem__, lambda tokens: 0.002 * tokens, places=8)
    steps = MeasuredSteps(0.002, tuple(UNEVEN.items()), 2048)
    per_s, ttft_s, tpot_s, done = plain.closed_loop(users, 30, 40, 24, pause_s)
    replies = closed_loop(users, 30, (40, 24), steps, apart_s)
    assert len(replies) == len(done) == 30
    near = 1e-9 if not pause_s else 0.03  # the pause itself
    assert 30 / max(one.last_s for one in replies) == pytest.approx(per_s, rel=near)
    assert fmean(one.ttft_s for one in replies) == pytest.approx(ttft_s, rel=near)
    assert fmean(one.tpot_s or 0 for one in replies) == pytest.approx(tpot_s, rel=near)


def test_users_who_ask_for_one_token() -> None:
    """Three users with two requests each, and no step: six prompts in two passes."""
    steps = MeasuredSteps(0.001, ((1, 0.02), (3, 0.02)), 2048)
    ends = [one.last_s for one in closed_loop(3, 6, (10, 1), steps)]
    assert ends == pytest.approx([0.03] * 3 + [0.06] * 3)
