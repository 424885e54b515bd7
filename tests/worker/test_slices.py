"""Both sides at the same time on one processor: the same requests, each in its own time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from fakes import DataClock, FakeEngine, NoGarbage

from bench.records import TurnTimes
from bench.worker import passes, slices
from bench.worker.duet import Baton, PeerGone
from bench.worker.slices import side_by_side

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> DataClock:
    """Each thread has its own time, as each worker has; it moves only while that thread's engine works."""
    shared = DataClock()

    class Own:
        def __init__(self, _programs: Sequence[int]) -> None:
            self.now_ns: Callable[[], int] = shared

        def __enter__(self) -> Own:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        @contextmanager
        def counted(self) -> Iterator[None]:
            self.blocks = getattr(self, "blocks", 0) + 1
            yield

        def share(self) -> float:
            return self.blocks / 8

    monkeypatch.setattr(slices, "OwnTime", Own)
    monkeypatch.setattr(slices, "Elsewhere", Own)
    monkeypatch.setattr(passes, "gc", NoGarbage)
    return shared


def both(engines: Sequence[FakeEngine], firsts: Sequence[Sequence[int]], **how: Any) -> list[Any]:
    """Run both sides in two threads; what each returned or raised."""
    ends = socket.socketpair()
    found: list[Any] = [None, None]

    def side(me: int) -> None:
        with ends[me] as channel:
            try:
                batches = [[[1, 2]]] * len(firsts)
                found[me] = side_by_side(
                    engines[me], batches, len(firsts[0]), firsts, me, Baton(channel), **how
                )
            except BaseException as error:  # noqa: BLE001 - handed to the test
                found[me] = error

    threads = [threading.Thread(target=side, args=(me,), daemon=True) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a side hangs"
    return found


def test_each_side_has_its_own_times_to_the_nanosecond(clock: DataClock) -> None:
    engines = [
        FakeEngine(clock, prefill_ns=[10], step_ns=[1, 2, 3]),
        FakeEngine(clock, prefill_ns=[20], step_ns=[5]),
    ]
    base, variant = both(engines, [[0, 1, 1]] * 2)
    assert isinstance(base, TurnTimes)
    assert base.durations_ns == ((10, 1, 2), (10, 3, 1))
    assert variant.durations_ns == ((20, 5, 5), (20, 5, 5))
    assert len(base.replies) == len(variant.replies) == 2
    assert base.elsewhere == variant.elsewhere == 0.25


def test_sides_with_different_numbers_of_tokens(clock: DataClock) -> None:
    engines = [FakeEngine(clock, prefill_ns=[10], step_ns=[1]) for _ in range(2)]
    found = both(engines, [[0, 1, 1]], counts=(1, 3))
    assert [one.durations_ns for one in found] == [((10,),), ((10, 1, 1),)]


@pytest.mark.parametrize("first", [0, 1])
def test_the_draw_decides_who_meets_last(
    monkeypatch: pytest.MonkeyPatch, clock: DataClock, first: int
) -> None:
    """Who meets last goes on later: it wakes the other side first."""
    lasts: list[tuple[int, bool]] = []
    monkeypatch.setattr(slices, "meet", lambda last, baton: lasts.append((baton.side, last)))

    class Named(Baton):
        def __init__(self, side: int) -> None:
            self.side = side

    for me in (0, 1):
        side_by_side(FakeEngine(clock), [[[1]]], 2, [[first, 0]], me, Named(me))
    assert lasts == [(0, first == 1)] * 2 + [(1, first == 0)] * 2


def test_the_other_side_has_died() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(PeerGone):
        side_by_side(FakeEngine(), [[[1]]], 3, [[0, 0, 0]], 0, Baton(ours))
