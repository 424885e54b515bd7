"""What a server takes: memory after its blocks, and joules by counters, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_nvml import Card, Machine, gpu_machine

from bench.engine import energy_counters
from bench.measure import load_blocks, served_use
from bench.measure.load_blocks import Serving
from bench.measure.served_use import Meter
from bench.records import MemoryPeaks
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.serving.address import Address
from bench.serving.capacity_search import Capacity
from bench.serving.load import Load
from bench.serving.search_run import Searched
from bench.worker import counter_windows

__all__ = ["gpu_machine"]
MIB = 1024**2
PID = 77


def server(resident: list[int], *pids: int) -> Any:
    """A server whose processes hold these bytes, one after the other."""
    return SimpleNamespace(pids=lambda: list(pids or (PID,)), memory_bytes=lambda: resident.pop(0))


def sample(tokens: int, *, ok: bool = True) -> Sample:
    return SimpleNamespace(ok=ok, n_out=tokens)  # type: ignore[return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seconds that pass when somebody sleeps."""
    now = SimpleNamespace(s=100.0, moved=lambda: None)
    monkeypatch.setattr(counter_windows, "perf_counter_ns", lambda: round(1e9 * now.s))

    def sleep(seconds: float) -> None:
        now.s += seconds
        now.moved()

    now.sleep = sleep
    for module in (served_use, counter_windows):
        monkeypatch.setattr(module, "sleep", sleep)
    return now


def two_blocks(meter: Meter, clock: Any, seconds: float = 3.0, *, disturbed: bool = False) -> None:
    for tokens in (10, 20):
        with meter.watching():
            clock.sleep(seconds)
        failed = sample(99, ok=False)
        meter.served([sample(tokens), sample(tokens), failed], disturbed=disturbed)


def test_a_gpu_counts_the_joules_of_the_blocks(gpu_machine: Machine, clock: Any) -> None:
    board = Card(processes={PID: 900 * MIB, 5: 64 * MIB}, energy_mj=lambda: round(200e3 * clock.s))
    gpu_machine(Card(uuid="GPU-other", processes={5: MIB}, energy_mj=lambda: 0), board)
    meter = Meter(server([10 * MIB, 30 * MIB]), on_gpu=True)
    meter.idle(10)
    clock.sleep(60)  # between the blocks nothing counts
    two_blocks(meter, clock)
    found = meter.energy()
    assert (found.joules, found.window_s) == (pytest.approx(1200.0), pytest.approx(6.0))
    assert (found.requests, found.output_tokens) == (4, 60)
    assert (found.boundary, found.idle_w, found.code) == ("GPU board (NVML)", pytest.approx(200.0), "ok")
    memory = meter.memory()
    assert memory.largest("peak_device_bytes") == 900 * MIB
    assert memory.largest("peak_rss_bytes") == 30 * MIB
    assert memory.by_phase("peak_rss_bytes") == {"under load": 30 * MIB}


def test_a_server_on_two_boards(gpu_machine: Machine, clock: Any) -> None:
    cards = [
        Card(uuid=f"GPU-{n}", processes={PID: MIB}, energy_mj=lambda: round(1e6 * clock.s)) for n in (1, 2)
    ]
    gpu_machine(*cards)
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock)
    assert meter.energy().joules == pytest.approx(12_000.0)
    assert meter.energy().boundary == "GPU board (NVML) × 2"
    assert meter.memory().largest("peak_device_bytes") == 2 * MIB


def test_a_container_hides_the_processes(gpu_machine: Machine, clock: Any) -> None:
    gpu_machine(Card(processes={}, energy_mj=lambda: round(1e6 * clock.s)))
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock)
    assert meter.energy().joules == pytest.approx(6000.0)
    assert meter.memory().largest("peak_device_bytes") is None


def backwards(clock: Any) -> Any:
    return lambda: round(1e6 * (200 - clock.s))


@pytest.mark.parametrize(
    ("cards", "code"),
    [
        ([Card(uuid="GPU-1"), Card(uuid="GPU-2")], "gpu_unknown"),
        ([Card(processes={PID: MIB}, lacks={"nvmlDeviceGetTotalEnergyConsumption"})], "no_energy_counter"),
    ],
)
def test_no_figure_without_a_counter(gpu_machine: Machine, clock: Any, cards: list[Card], code: str) -> None:
    gpu_machine(*cards)
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock)
    assert (meter.energy().joules, meter.energy().code) == (None, code)


@pytest.mark.parametrize(
    ("seconds", "disturbed", "code"), [(0.5, False, "window_too_short"), (3.0, True, "neighbours")]
)
def test_no_figure_of_a_window_that_says_nothing(
    gpu_machine: Machine, clock: Any, seconds: float, disturbed: bool, code: str
) -> None:
    gpu_machine(Card(processes={PID: MIB}, energy_mj=lambda: round(1e6 * clock.s)))
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock, seconds, disturbed=disturbed)
    assert (meter.energy().joules, meter.energy().code) == (None, code)


def test_a_counter_that_stands_still_is_not_zero_energy(gpu_machine: Machine, clock: Any) -> None:
    gpu_machine(Card(processes={PID: MIB}, energy_mj=lambda: 5000))
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock)
    assert (meter.energy().joules, meter.energy().code) == (None, "counter_stuck")


@pytest.mark.parametrize("late", [(0.0,), (0.0, 0.041), (0.02, 0.09, 0.055)])
def test_short_blocks_keep_their_joules(gpu_machine: Machine, clock: Any, late: Sequence[float]) -> None:
    """Each board draws 300 W, and 60 W between the blocks. Its counter has ten updates a second, each as many
    seconds late as ``late`` says."""
    busy: list[list[float]] = []

    def joules(late_s: float) -> float:
        last = int(10 * (clock.s - late_s)) / 10 + late_s
        return 60 * last + 240 * sum(min(end, last) - start for start, end in busy if start < last)

    def counter(late_s: float) -> Callable[[], int]:
        return lambda: round(1e3 * joules(late_s))

    gpu_machine(*(Card(uuid=f"GPU-{s}", processes={PID: MIB}, energy_mj=counter(s)) for s in late))
    meter = Meter(server([0] * 6), on_gpu=True)
    for _ in range(6):
        clock.sleep(0.37)
        with meter.watching():
            busy.append([clock.s, math.inf])
            clock.sleep(0.53)
            busy[-1][1] = clock.s
    meter.served([sample(8)], disturbed=False)
    found = meter.energy()
    assert found.window_s == pytest.approx(6 * 0.53, rel=0.01)
    assert found.joules == pytest.approx(300 * len(late) * found.window_s, rel=0.05)


def test_a_counter_that_is_set_back(gpu_machine: Machine, clock: Any) -> None:
    gpu_machine(Card(processes={PID: MIB}, energy_mj=backwards(clock)))
    meter = Meter(server([0, 0]), on_gpu=True)
    two_blocks(meter, clock)
    assert meter.energy().code == "counter_reset"


def test_on_a_cpu_the_client_counts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: Any) -> None:
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    for name, value in (("name", "package-0"), ("max_energy_range_uj", "1000000000"), ("energy_uj", "5")):
        (package / name).write_text(value)
    monkeypatch.setattr(energy_counters, "_POWERCAP", tmp_path)
    clock.moved = lambda: (package / "energy_uj").write_text(str(round(1e7 * (clock.s - 100))))  # 10 W
    meter = Meter(server([MIB]), on_gpu=False)
    with meter.watching():
        clock.sleep(4.0)
    meter.served([sample(8)], disturbed=False)
    assert meter.energy().joules == pytest.approx(40.0)
    assert meter.energy().boundary == "CPU package (RAPL), with the client"
    assert meter.memory() == MemoryPeaks({}, {}, served={"peak_rss_bytes": MIB})


def test_a_search_serves_the_requests_of_all_its_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its joules are those of all its loads too, of which one has the figures of the block."""
    counted: list[int] = []

    class Spy:
        watching = staticmethod(nullcontext)

        def served(self, samples: Sequence[Sample], *, disturbed: bool) -> None:
            counted.append(len(samples))

    best = Load((sample(5),) * 3, ClientOverhead(0, 0, 0, None, None, 0, "loop"))
    found = Searched(best, Capacity(2.0, 4.0, 0.9, (), "found"), (sample(5),) * 14)
    monkeypatch.setattr(load_blocks, "run", lambda work: (work.close(), found)[1])
    context = SimpleNamespace(measure=SimpleNamespace(max_disturbance=1.0))
    asked = SimpleNamespace(server=Address("http", "127.0.0.1", 1))
    target = SimpleNamespace(server=server([]), gone=str, settings=asked)
    serving: Any = Serving(SimpleNamespace(context=context), target, meter=Spy())  # type: ignore[arg-type]
    plan: Any = SimpleNamespace(workload=SimpleNamespace(own=(("rate", 1.0), ("share", 0.9))))
    block, _ticks = serving.block(plan, 0, None, None)
    assert (len(block.samples), counted) == (3, [14])
