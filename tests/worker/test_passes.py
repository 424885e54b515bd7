"""The passes of one worker: what is stamped when, and that nothing else happens in between."""

from __future__ import annotations

import gc
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import Card, Machine, gpu_machine
from fakes import DataClock, FakeEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.engine import memory
from bench.records import MemoryPeaks
from bench.worker import passes

__all__ = ["gpu_machine"]
MS = 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DataClock:
    found = DataClock()
    monkeypatch.setattr(passes, "perf_counter_ns", found)
    return found


@pytest.fixture(autouse=True)
def _gc_stays_on() -> Iterator[None]:
    yield
    assert gc.isenabled()


durations = st.lists(st.integers(1, 10**9), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(durations, durations, st.integers(2, 12), st.integers(1, 4))
def test_every_stamp_is_the_engine_s_own_time(
    prefill_ns: list[int], step_ns: list[int], new_tokens: int, size: int
) -> None:
    clock = DataClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "perf_counter_ns", clock)
        clock.advance(12345)
        timed = passes.timed_request(FakeEngine(clock, prefill_ns, step_ns), [[1, 2]] * size, new_tokens)
    moments = [timed.sent_ns, *timed.stamps_ns, timed.end_ns]
    assert moments == sorted(moments)
    assert timed.sent_ns == 12345
    assert timed.stamps_ns[0] - timed.sent_ns == prefill_ns[0]
    gaps = [b - a for a, b in zip(timed.stamps_ns, timed.stamps_ns[1:], strict=False)]
    assert gaps == [step_ns[i % len(step_ns)] for i in range(new_tokens - 1)]
    assert sum(gaps) == timed.stamps_ns[-1] - timed.stamps_ns[0]
    assert [len(row) for row in timed.tokens] == [new_tokens] * size


def test_solo_times_every_batch_once_from_its_own_zero(clock: DataClock) -> None:
    clock.advance(5000)
    engine = FakeEngine(clock, prefill_ns=[3 * MS, 5 * MS], step_ns=[MS])
    found = passes.solo(engine, [[[1], [2, 3]], [[4]]], 3).batches
    assert [one.sent_ns for one in found] == [0, 5 * MS]
    assert [one.stamps_ns for one in found] == [(3 * MS, 4 * MS, 5 * MS), (10 * MS, 11 * MS, 12 * MS)]
    assert [one.end_ns for one in found] == [5 * MS, 12 * MS]
    assert [one.input_tokens for one in found] == [(1, 2), (1,)]
    assert [len(one.tokens) for one in found] == [2, 1]
    assert [kind for kind, _ in engine.log] == ["prefill", "step", "step"] * 2


class Watching(FakeEngine):
    """Notes whether garbage collection is on during its calls."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.collecting: list[bool] = []

    def prefill(self, prompts: Any, new_tokens: int) -> Any:
        self.collecting.append(gc.isenabled())
        return super().prefill(prompts, new_tokens)

    def step(self, generation: Any) -> None:
        self.collecting.append(gc.isenabled())
        super().step(generation)


@pytest.mark.parametrize("work", ["solo", "warm_up"])
def test_garbage_is_not_collected_while_something_is_timed(work: str, clock: DataClock) -> None:
    engine = Watching(clock=clock)
    if work == "solo":
        passes.solo(engine, [[[1]]], 4)
    else:
        passes.warm_up(engine, [[1]], 4, 2)
    assert engine.collecting
    assert not any(engine.collecting)


def test_garbage_collection_comes_back_after_a_failure() -> None:
    def fails() -> None:
        with passes.undisturbed():
            assert not gc.isenabled()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("prefills_ms", "least", "expected", "steady"),
    [
        ([100, 100], 2, 2, True),  # alike at once
        ([100, 104], 2, 2, True),  # within 5 %
        ([300, 110, 100, 100], 2, 4, True),  # until two in a row are alike
        ([100], 4, 4, True),  # at least as often as asked
        ([100], 1, 2, True),  # one alone is compared with nothing
        ([100, 200], 2, 6, False),  # never steady: six times and no more
        ([100, 200, 300, 400, 500, 505], 2, 6, True),
    ],
)
def test_warm_up_stops_when_it_is_steady(
    prefills_ms: list[int], least: int, expected: int, steady: bool, clock: DataClock
) -> None:
    engine = FakeEngine(clock, prefill_ns=[ms * MS for ms in prefills_ms], step_ns=[1])
    found = passes.warm_up(engine, [[1]], 2, least)
    assert len(found.durations_ms) == expected
    assert found.steady is steady
    assert found.first_request_ms == found.durations_ms[0] == pytest.approx(prefills_ms[0], abs=0.01)


def test_memory_is_read_phase_by_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Noting(FakeEngine):
        def prefill(self, prompts: Any, new_tokens: int) -> Any:
            events.append("prefill")
            return super().prefill(prompts, new_tokens)

        def step(self, generation: Any) -> None:
            events.append("step")

        def cache_bytes(self, _generation: Any) -> int:
            return 10 * len(events)

    def read(engine: object) -> dict[str, int | None]:
        events.append("read")
        return {"peak_rss_bytes": len(events)}

    monkeypatch.setattr(memory, "reset_peak", lambda engine: events.append("reset"))
    monkeypatch.setattr(memory, "read_peak", read)
    found = passes.memory_pass(Noting(), [[1]], 3)
    assert events == ["reset", "prefill", "read", "reset", "step", "step", "read"]
    assert found == MemoryPeaks({"peak_rss_bytes": 3}, {"peak_rss_bytes": 7}, cache=70)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_the_peak_forgets_what_came_before_the_reset() -> None:
    size = 200 * 1024 * 1024
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    high = memory.read_peak()["peak_rss_bytes"]
    del block
    memory.reset_peak()
    low = memory.read_peak()["peak_rss_bytes"]
    assert high is not None
    assert low is not None
    assert high - low > size * 0.9


def test_no_device_no_device_figures() -> None:
    assert memory.read_peak(FakeEngine())["peak_allocated_bytes"] is None
    assert memory.read_peak(FakeEngine())["peak_device_bytes"] is None


class Cuda:
    """What memory asks of ``torch.cuda``, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    is_initialized = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    get_device_properties = staticmethod(lambda index: types.SimpleNamespace(uuid="aaaa-1"))
    max_memory_allocated = staticmethod(lambda: 50)
    max_memory_reserved = staticmethod(lambda: 60)

    def empty_cache(self) -> None:
        self.asked.append("empty")

    def reset_peak_memory_stats(self) -> None:
        self.asked.append("reset")


@pytest.mark.parametrize(
    ("processes", "held"),
    [
        ({os.getpid(): 70, 4_000_001: 900}, 70),  # the partner's 900 are not ours
        ({4_000_001: 900}, None),  # a container, in which the driver names others only
        ({os.getpid(): None}, None),
        ({}, None),
    ],
)
def test_a_device_in_use_has_figures_of_its_own(
    monkeypatch: pytest.MonkeyPatch, gpu_machine: Machine, processes: dict[int, int | None], held: int | None
) -> None:
    """Also without an engine, as in training; an engine on the CPU has none."""
    gpu_machine(Card(processes=processes))
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    memory.reset_peak()
    assert cuda.asked == ["empty", "reset"]
    found = memory.read_peak()
    assert (found["peak_allocated_bytes"], found["peak_reserved_bytes"]) == (50, 60)
    assert found["peak_device_bytes"] == held
    assert memory.read_peak(FakeEngine())["peak_allocated_bytes"] is None


def test_a_kernel_that_does_not_reset_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "_CLEAR", Path("/proc/version"))
    memory.reset_peak()
    assert "peaks are since the start" in capsys.readouterr().out
