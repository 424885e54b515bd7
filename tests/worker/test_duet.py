"""The duet: turns in exactly the scheduled order, one duration a turn, and no hang when a side dies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fakes import DataClock, FakeEngine, NoGarbage
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import TurnTimes
from bench.worker import duet as module
from bench.worker import passes
from bench.worker.duet import Baton, PeerGone, alone, duet, schedule

Firsts = Sequence[Sequence[int]]
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "gc", NoGarbage)


class Recorded(FakeEngine):
    """Writes every call into a list that both sides share."""

    def __init__(self, side: int, journal: list[tuple[int, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._side, self._journal = side, journal

    def prefill(self, prompts: Any, new_tokens: int) -> Any:
        self._journal.append((self._side, "prefill"))
        return super().prefill(prompts, new_tokens)

    def step(self, generation: Any) -> None:
        self._journal.append((self._side, "step"))
        super().step(generation)


def both(
    engines: Sequence[FakeEngine],
    firsts: Firsts,
    turns: int,
    batches: int | None = None,
    *,
    spins: bool = False,
    **how: Any,
) -> list[TurnTimes | BaseException]:
    """Run a duet of two threads; what each side returned or raised."""
    ends = socket.socketpair()
    count = len(firsts) if batches is None else batches
    found: list[Any] = [None, None]

    def side(me: int) -> None:
        with ends[me] as channel:
            try:
                baton = Baton(channel, spins=spins)
                found[me] = duet(engines[me], [[[1, 2]]] * count, turns, firsts, me, baton, **how)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                found[me] = error

    threads = [threading.Thread(target=side, args=(me,), daemon=True) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a side of the duet hangs"
    return found


def test_a_coarser_grain() -> None:
    assert schedule([0, 1, 1, 0, 1], 1) == [0, 1, 1, 0, 1, 0, 0, 1, 1, 0]
    assert schedule([0, 1, 1, 0, 1], 2) == [0, 0, 1, 1, 1, 1, 0, 0, 1, 0]
    assert schedule([1, 0, 0], 3) == [1, 1, 1, 0, 0, 0]


def expected_order(firsts: Firsts) -> list[tuple[int, str]]:
    """The schedule in words: in every turn both sides go once, the named one first; turn 0 is the prefill."""
    return [
        (side, "step" if turn else "prefill")
        for order in firsts
        for turn, first in enumerate(order)
        for side in (first, 1 - first)
    ]


schedules = st.integers(1, 8).flatmap(
    lambda turns: st.lists(
        st.lists(st.integers(0, 1), min_size=turns, max_size=turns), min_size=1, max_size=4
    )
)


@settings(max_examples=80, deadline=None)
@given(schedules)
def test_the_order_of_turns_is_the_schedule(firsts: list[list[int]]) -> None:
    journal: list[tuple[int, str]] = []
    both([Recorded(0, journal), Recorded(1, journal)], firsts, len(firsts[0]))
    assert journal == expected_order(firsts)


@settings(max_examples=40, deadline=None)
@given(
    schedules,
    st.lists(st.integers(1, 10**9), min_size=1, max_size=5),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=5),
)
def test_durations_are_the_engine_s_to_the_nanosecond(
    firsts: list[list[int]], ours: list[int], theirs: list[int]
) -> None:
    """Waiting for the other side is in nobody's duration."""
    turns, clock = len(firsts[0]), DataClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter_ns", clock)
        engines = [FakeEngine(clock, prefill_ns=ns, step_ns=ns) for ns in (ours, theirs)]
        replies = both(engines, firsts, turns)
    for reply, ns in zip(replies, (ours, theirs), strict=True):
        assert isinstance(reply, TurnTimes)
        durations = reply.durations_ns
        assert [len(batch) for batch in durations] == [turns] * len(firsts)
        assert [batch[0] for batch in durations] == [ns[i % len(ns)] for i in range(len(firsts))]
        steps = [took for batch in durations for took in batch[1:]]
        assert steps == [ns[i % len(ns)] for i in range(len(steps))]


class Dies(FakeEngine):
    """Fails in the given call, counted over prefills and steps."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self._call = call

    def prefill(self, prompts: Any, new_tokens: int) -> Any:
        self._maybe()
        return super().prefill(prompts, new_tokens)

    def step(self, generation: Any) -> None:
        self._maybe()
        super().step(generation)

    def _maybe(self) -> None:
        if len(self.log) == self._call:
            raise RuntimeError("planted")


@pytest.mark.parametrize("dying", [0, 1])
@pytest.mark.parametrize("call", [0, 1, 3, 4, 7])
def test_one_side_dies_and_the_other_hears_of_it(dying: int, call: int) -> None:
    engines: list[FakeEngine] = [FakeEngine(), FakeEngine()]
    engines[dying] = Dies(call)
    found = both(engines, [[0, 1, 1, 0], [1, 0, 0, 1]], 4)
    assert isinstance(found[dying], RuntimeError)
    assert isinstance(found[1 - dying], PeerGone)


def test_a_partner_that_never_comes() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(PeerGone):
        duet(FakeEngine(), [[[1]]], 3, [[0, 0, 0]], 0, Baton(ours))


def test_a_schedule_for_other_batches_is_refused() -> None:
    found = both([FakeEngine(), FakeEngine()], [[0, 0]], 2, batches=2)
    assert any(isinstance(one, ValueError) for one in found)


def test_no_side_collects_garbage_inside_the_other_s_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side 1 collects for a long time before each batch; side 0, who goes first, has to wait for it."""
    collecting = threading.Event()
    overlaps: list[str] = []
    threads: dict[int, int] = {}

    class SlowGarbage(NoGarbage):
        @staticmethod
        def collect() -> int:
            if threads.get(threading.get_ident()) == 1:
                collecting.set()
                time.sleep(0.05)
                collecting.clear()
            return 0

    class Watching(FakeEngine):
        def prefill(self, prompts: Any, new_tokens: int) -> Any:
            if collecting.wait(0.1):
                overlaps.append("prefill")
            return super().prefill(prompts, new_tokens)

    monkeypatch.setattr(passes, "gc", SlowGarbage)
    real: Callable[..., Any] = module.duet

    def marked(engine: Any, batches: Any, turns: int, firsts: Any, me: int, baton: Any) -> Any:
        threads[threading.get_ident()] = me
        return real(engine, batches, turns, firsts, me, baton)

    monkeypatch.setitem(globals(), "duet", marked)
    found = both([Watching(), FakeEngine()], [[0, 0, 0]] * 3, 3)
    assert all(isinstance(one, TurnTimes) for one in found), found
    assert not overlaps


def test_batches_of_different_lengths_take_turns_as_a_whole() -> None:
    assert module.whole(0, (3, 2)) == [0, 0, 0, 1, 1]
    assert module.whole(1, (3, 2)) == [1, 1, 0, 0, 0]


# ---- request by request, as on a GPU ------------------------------------------------------------------


@pytest.mark.parametrize("spins", [False, True])
def test_a_request_begins_with_untimed_steps(spins: bool) -> None:
    """Each side decodes a little before its request, holding the baton; only the request is timed."""
    journal: list[tuple[int, str]] = []
    clocks = [DataClock(), DataClock()]
    engines = [Recorded(me, journal, clock=clocks[me], prefill_ns=[7], step_ns=[3]) for me in (0, 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter_ns", lambda: max(clock() for clock in clocks))
        found = both(engines, [[1, 0, 0], [0, 1, 1]], 3, spins=spins, counts=[3, 3], wake=2)
    request = ["prefill", "step", "step"]
    order = [1, 0, 0, 1]
    assert journal == [(side, what) for side in order for what in (*request, *request)]
    assert [one.durations_ns for one in found] == [((7, 3, 3), (7, 3, 3))] * 2  # type: ignore[union-attr]


def test_no_more_untimed_steps_than_the_request_has() -> None:
    journal: list[tuple[int, str]] = []
    alone(Recorded(0, journal), [[[1]]], 2, turns=2, wake=4)
    assert journal == [(0, "prefill"), (0, "step")] * 2


def test_a_side_without_a_partner_is_timed_in_the_same_way() -> None:
    clock = DataClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter_ns", clock)
        found = alone(FakeEngine(clock, [7, 9], [3]), [[[1]], [[2]]], 3, turns=3)
    assert found.durations_ns == ((7, 3, 3), (9, 3, 3))


def test_who_spins_notices_that_the_partner_has_died() -> None:
    left, right = socket.socketpair()
    with left:
        right.close()
        with pytest.raises(PeerGone):
            Baton(left, spins=True).wait()


def test_who_spins_takes_no_time_to_wake() -> None:
    """It asks until the byte is there, and never sleeps: its thread's own time passes meanwhile."""
    left, right = socket.socketpair()
    with left, right:
        threading.Timer(0.2, right.sendall, [b"x"]).start()
        before = time.thread_time()
        Baton(left, spins=True).wait()
        assert time.thread_time() - before > 0.01
