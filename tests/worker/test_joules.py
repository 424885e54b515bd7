"""Energy from counters that were replayed: slow ones, stuck ones, ones that wrap around or are set back."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_nvml import Card, Machine, gpu_machine
from fakes import DataClock, FakeEngine

from bench.engine import energy_counters
from bench.engine.energy_counters import Counter, CounterReset, NoCounter
from bench.records import EnergyReading, Facts
from bench.worker import counter_windows, joules, passes

__all__ = ["gpu_machine"]
MS = 1_000_000
Patch = pytest.MonkeyPatch


@pytest.fixture
def clock(monkeypatch: Patch) -> DataClock:
    """A clock that requests and sleeps move; samples of power are taken when the worker looks."""
    found = DataClock()
    for module in (passes, counter_windows):
        monkeypatch.setattr(module, "perf_counter_ns", found)
    for module in (joules, counter_windows):
        monkeypatch.setattr(module, "sleep", lambda seconds: found.advance(round(seconds * 1e9)))
    return found


class Recorded:
    """A counter that a device of ``busy_w`` and ``idle_w`` would give, updated every ``update_s``; ``spans``
    are the times in which it had work."""

    def __init__(
        self, clock: DataClock, engine: FakeEngine, busy_w: float, idle_w: float, update_s: float
    ) -> None:
        self.clock, self.update_ns = clock, round(update_s * 1e9)
        self.busy_w, self.idle_w = busy_w, idle_w
        self.spans: list[tuple[int, int]] = []
        for name in ("prefill", "step"):
            setattr(engine, name, self._counted(getattr(engine, name)))

    def _counted(self, work: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            before = self.clock()
            result = work(*arguments)
            self.spans.append((before, self.clock()))
            return result

        return counted

    def joules_at(self, moment: int) -> float:
        busy = sum(min(end, moment) - start for start, end in self.spans if start < moment)
        return (busy * self.busy_w + (moment - busy) * self.idle_w) / 1e9

    def read(self) -> float:
        return self.joules_at(self.clock() // self.update_ns * self.update_ns)


def reading(patch: Patch, engine: FakeEngine, counter: Counter, idle_s: float = 0.0) -> EnergyReading:
    patch.setattr(energy_counters, "find", lambda device: counter)
    return joules.measure(engine, [[1], [2]], 3, idle_s)


@pytest.mark.parametrize("update_s", [0.001, 0.02, 0.1, 0.25])
def test_the_energy_of_whole_requests_to_two_per_cent(
    clock: DataClock, monkeypatch: Patch, update_s: float
) -> None:
    """Requests of 0.31 s, two at a time, at 300 W. The window has twenty updates and two seconds at least."""
    engine = FakeEngine(clock, prefill_ns=[110 * MS], step_ns=[100 * MS])
    meter = Recorded(clock, engine, 300, 60, update_s)
    found = reading(monkeypatch, engine, Counter("test", meter.read))
    assert found.energy_valid
    assert found.code == "ok"
    assert found.window_s >= max(2.0, 20 * update_s)
    assert found.requests == 2 * len([span for span in meter.spans if span[1] - span[0] == 110 * MS])
    assert found.output_tokens == 3 * found.requests
    assert found.joules == pytest.approx(300 * found.window_s, rel=0.02)
    assert found.update_s == pytest.approx(update_s, rel=0.1, abs=0.002)


@pytest.mark.parametrize(("replies", "tokens"), [([[5] * 7, [5] * 4], 11), ([[], []], 0)])
def test_the_tokens_of_answers_that_come_as_a_whole_are_counted(
    clock: DataClock, monkeypatch: Patch, replies: list[list[int]], tokens: int
) -> None:
    """Such an answer is one step of the engine, and has as many tokens as it has; an encoder writes none."""
    engine = FakeEngine(clock, prefill_ns=[310 * MS])
    meter = Recorded(clock, engine, 300, 60, 0.1)
    monkeypatch.setattr(engine, "tokens", lambda generation: replies)
    monkeypatch.setattr(energy_counters, "find", lambda device: Counter("test", meter.read))
    found = joules.measure(engine, [[1], [2]], 1)
    assert found.requests == 2 * len(meter.spans) > 0
    assert found.output_tokens == tokens * len(meter.spans)


def test_idle_power_is_measured_before_anything_runs(clock: DataClock, monkeypatch: Patch) -> None:
    engine = FakeEngine(clock, prefill_ns=[110 * MS], step_ns=[100 * MS])
    meter = Recorded(clock, engine, 300, 60, 0.1)
    found = reading(monkeypatch, engine, Counter("test", meter.read), idle_s=10.0)
    assert found.idle_w == pytest.approx(60)
    assert meter.spans[0][0] >= 10 * 10**9
    assert found.joules == pytest.approx(300 * found.window_s, rel=0.02)


def test_a_counter_that_stands_still_is_not_zero_energy(clock: DataClock, monkeypatch: Patch) -> None:
    engine = FakeEngine(clock)
    found = reading(monkeypatch, engine, Counter("test", lambda: 5.0))
    assert (found.energy_j, found.energy_valid, found.code) == (None, False, "counter_stuck")
    assert engine.log == []


def test_a_counter_that_stops_during_the_window(clock: DataClock, monkeypatch: Patch) -> None:
    engine = FakeEngine(clock, prefill_ns=[1500 * MS])
    meter = Recorded(clock, engine, 300, 60, 0.1)
    found = reading(monkeypatch, engine, Counter("test", lambda: min(meter.read(), 500.0)))
    assert (found.joules, found.code) == (None, "counter_stuck")


def test_a_counter_that_is_set_back(clock: DataClock, monkeypatch: Patch) -> None:
    def read() -> float:
        if clock() > 1_000_000_000:
            raise CounterReset
        return clock() / 1e9

    found = reading(monkeypatch, FakeEngine(clock, prefill_ns=[800 * MS]), Counter("test", read))
    assert (found.joules, found.code) == (None, "counter_reset")
    assert "set back" in found.reason


@pytest.mark.fault(29)
def test_no_counter_is_no_figure_and_a_reason(monkeypatch: Patch) -> None:
    monkeypatch.setattr(energy_counters, "find", lambda device: NoCounter("no_energy_counter", "none here"))
    engine = FakeEngine()
    found = joules.measure(engine, [[1]], 3)
    assert found == EnergyReading(None, energy_valid=False, code="no_energy_counter", reason="none here")
    assert engine.log == []


# ---- power as a check, or instead of a counter -------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "code"), [(1.0, "ok"), (1.04, "ok"), (1.08, "counters_differ"), (0.9, "counters_differ")]
)
def test_power_and_counter_are_held_against_each_other(factor: float, code: str) -> None:
    assert joules._agreement(1000, 1000 * factor)[0] == code
    assert joules._agreement(1000, None) == ("ok", "")


def test_a_check_that_differs_is_said_and_the_counter_is_believed(
    clock: DataClock, monkeypatch: Patch
) -> None:
    engine = FakeEngine(clock, prefill_ns=[110 * MS], step_ns=[100 * MS])
    meter = Recorded(clock, engine, 300, 60, 0.1)
    monkeypatch.setattr(joules, "integrated", lambda samples, start, end: 1.2 * 300 * (end - start))
    found = reading(monkeypatch, engine, Counter("test", meter.read, lambda: 300.0))
    assert found.energy_valid
    assert found.code == "counters_differ"
    assert "+2" in found.reason
    assert found.joules == pytest.approx(300 * found.window_s, rel=0.02)


def test_power_is_integrated_where_nothing_counts_energy(clock: DataClock, monkeypatch: Patch) -> None:
    engine = FakeEngine(clock, prefill_ns=[110 * MS], step_ns=[100 * MS])
    monkeypatch.setattr(joules, "integrated", lambda samples, start, end: 250 * (end - start))
    found = reading(monkeypatch, engine, Counter("test", None, lambda: 250.0))
    assert (found.energy_valid, found.code) == (True, "power_integrated")
    assert found.joules == pytest.approx(250 * found.window_s)
    monkeypatch.setattr(joules, "integrated", lambda samples, start, end: None)
    assert reading(monkeypatch, engine, Counter("test", None, lambda: 250.0)).code == "power_gaps"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100), (4, 100)], None),  # a gap of more than three seconds
        ([(0, 100), (2, 100), (4, 100)], 200.0),
        ([(0, 0), (2, 200), (4, 0)], 300.0),  # from 1 to 3: half a triangle on each side, without its corners
        ([(1.5, 100), (4, 100)], None),  # not bracketed
        ([(0, 100), (2.5, 100)], None),
        ([(1, 100), (3, 100)], 200.0),
        ([], None),
        ([(0, 100), (2, 100), (2, 900), (4, 100)], 800.0),  # 100 W for 1 s, then from 900 W to 500 W
    ],
)
def test_the_trapezoid_rule_by_hand(samples: list[tuple[float, float]], expected: float | None) -> None:
    found = joules.integrated(samples, 1.0, 3.0)
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_sampler_brackets_its_block() -> None:
    with joules.Sampler(lambda: 42.0) as samples:
        start = joules.now()
        while len(samples.found) < 3:
            pass
        end = joules.now()
    assert samples.found[0][0] <= start < end <= samples.found[-1][0]
    assert joules.integrated(samples.found, start, end) == pytest.approx(42 * (end - start))
    with joules.Sampler(None) as nothing:
        pass
    assert nothing.found == []


# ---- RAPL --------------------------------------------------------------------------------------------


def rapl(directory: Path, *values: int, limit: int = 1000, names: tuple[str, ...] = ()) -> None:
    for index, value in enumerate(values):
        domain = directory / f"intel-rapl:{index}"
        domain.mkdir(exist_ok=True)
        (domain / "energy_uj").write_text(f"{value}\n")
        (domain / "max_energy_range_uj").write_text(f"{limit}\n")
        if names:
            (domain / "name").write_text(f"{names[index]}\n")


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: Patch) -> Path:
    monkeypatch.setattr(energy_counters, "_POWERCAP", tmp_path)
    return tmp_path


def read(counter: Counter | NoCounter) -> float:
    assert isinstance(counter, Counter)
    assert counter.read is not None
    return counter.read()


def test_rapl_adds_packages_and_survives_wrapping(powercap: Path) -> None:
    rapl(powercap, 900, 100)
    counter = energy_counters.find("cpu")
    assert read(counter) == 0
    rapl(powercap, 950, 300)
    assert read(counter) == pytest.approx(250e-6)
    rapl(powercap, 49, 300)  # 950 → 1000 → 0 → 49
    assert read(counter) == pytest.approx(350e-6)


def test_rapl_that_is_set_back_is_no_wrap(powercap: Path) -> None:
    most = 262_143_328_850
    rapl(powercap, 200_000_000_000, limit=most)
    counter = energy_counters.find("cpu")
    rapl(powercap, 100_000_000_000, limit=most)  # as a wrap this would be 162 kJ between two looks
    with pytest.raises(CounterReset):
        read(counter)


def test_the_whole_system_is_not_counted_beside_its_packages(powercap: Path) -> None:
    (powercap / "intel-rapl:0:0").mkdir()
    rapl(powercap, 100, 500, names=("package-0", "psys"))
    counter = energy_counters.find("cpu")
    rapl(powercap, 150, 900, names=("package-0", "psys"))
    assert read(counter) == pytest.approx(50e-6)


def test_a_machine_without_rapl_says_so(powercap: Path) -> None:
    found = energy_counters.find("cpu")
    assert isinstance(found, NoCounter)
    assert found.code == "no_energy_counter"


# ---- NVML --------------------------------------------------------------------------------------------


@pytest.fixture
def torch_gpu(monkeypatch: Patch) -> Callable[..., list[int]]:
    def make(**properties: str) -> list[int]:
        asked: list[int] = []

        def get(index: int) -> types.SimpleNamespace:
            asked.append(index)
            return types.SimpleNamespace(**properties)

        cuda = types.SimpleNamespace(get_device_properties=get)
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
        return asked

    return make


@pytest.mark.parametrize(
    ("properties", "code"),
    [({"uuid": "aaaa-1"}, "ok"), ({"uuid": "other"}, "gpu_unknown"), ({}, "gpu_unknown")],
)
def test_the_gpu_is_known_by_its_uuid(
    gpu_machine: Machine, torch_gpu: Callable[..., list[int]], properties: dict[str, str], code: str
) -> None:
    """Its number is another to NVML where CUDA_VISIBLE_DEVICES hides some."""
    gpu_machine(Card("GPU-zz-9"), Card(energy_mj=lambda: 5000))
    asked = torch_gpu(**properties)
    found = energy_counters.find("cuda:1")
    assert asked == [1]
    assert (found.code if isinstance(found, NoCounter) else "ok") == code
    assert isinstance(found, NoCounter) or read(found) == 5.0


def test_a_counter_of_a_driver_that_was_loaded_again(
    gpu_machine: Machine, torch_gpu: Callable[..., list[int]]
) -> None:
    values = iter([7000, 7000, 8000, 100])
    gpu_machine(Card(energy_mj=lambda: next(values)))
    torch_gpu(uuid="aaaa-1")
    counter = energy_counters.find("cuda")
    assert [read(counter), read(counter)] == [7.0, 8.0]
    with pytest.raises(CounterReset):
        read(counter)


@pytest.mark.parametrize(
    ("lacks", "kind"),
    [
        ({"nvmlDeviceGetTotalEnergyConsumption"}, "GPU board (NVML, power integrated)"),
        ({"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"}, "no_energy_counter"),
        (set(), "GPU board (NVML)"),
    ],
)
def test_what_a_card_can_count(
    gpu_machine: Machine, torch_gpu: Callable[..., list[int]], lacks: set[str], kind: str
) -> None:
    gpu_machine(Card(lacks=lacks))
    torch_gpu(uuid="aaaa-1")
    found = energy_counters.find("cuda")
    assert (found.code if isinstance(found, NoCounter) else found.boundary) == kind


@pytest.mark.parametrize(
    ("machine", "code"), [({"library": False}, "nvml_missing"), ({"broken": "no driver"}, "nvml_failed")]
)
@pytest.mark.fault(29)
def test_no_library(
    gpu_machine: Machine, torch_gpu: Callable[..., list[int]], machine: dict[str, object], code: str
) -> None:
    gpu_machine(Card(), **machine)
    torch_gpu(uuid="aaaa-1")
    found = energy_counters.find("cuda")
    assert isinstance(found, NoCounter)
    assert found.code == code


def test_a_slice_has_no_energy_of_its_own(gpu_machine: Machine, torch_gpu: Callable[..., list[int]]) -> None:
    from fake_nvml import h100_slice

    gpu_machine(Card(slices=[h100_slice()]))
    torch_gpu(uuid="bbbb-1")
    found = energy_counters.find("cuda")
    assert isinstance(found, NoCounter)
    assert found.code == "mig_slice"
    assert "1g.10gb" in found.reason


class Stub(FakeEngine):
    """An engine of two processes that names its device."""

    def __init__(self, device: str, size: int | None) -> None:
        super().__init__()
        self._device = device
        self.ranks = None if size is None else types.SimpleNamespace(size=size)  # type: ignore[assignment]

    def facts(self) -> Facts:
        return Facts(self._device, "float32", 32, random_weights=False)


@pytest.mark.parametrize(
    ("device", "size", "devices"),
    [("cuda:0", 2, ["cuda:0", "cuda:1"]), ("cuda:1", None, ["cuda:1"]), ("cpu", 2, ["cpu"])],
)
def test_the_energy_of_a_model_that_is_split_is_that_of_all_its_gpus(
    monkeypatch: Patch, device: str, size: int | None, devices: list[str]
) -> None:
    asked: list[list[str]] = []

    def none(found: list[str]) -> NoCounter:
        asked.append(list(found))
        return NoCounter("no_energy_counter", "none")

    monkeypatch.setattr(energy_counters, "of_all", none)
    assert joules.measure(Stub(device, size), [[1]], 2).energy_j is None
    assert asked == [devices]


def test_several_counters_are_added_up(monkeypatch: Patch) -> None:
    boards = {f"cuda:{n}": Counter("GPU board", lambda n=n: 10.0 * n, lambda n=n: 100.0 * n) for n in (1, 2)}
    monkeypatch.setattr(energy_counters, "find", boards.__getitem__)
    found = energy_counters.of_all(["cuda:1", "cuda:2"])
    assert isinstance(found, Counter)
    assert found.read is not None
    assert found.power is not None
    assert (found.boundary, found.read(), found.power()) == ("2 × GPU board", 30.0, 300.0)
    boards["cuda:2"] = Counter("GPU board", None, lambda: None)
    found = energy_counters.of_all(["cuda:1", "cuda:2"])
    assert isinstance(found, Counter)
    assert found.read is None
    assert found.power is not None
    assert found.power() is None
    monkeypatch.setattr(energy_counters, "find", lambda _device: NoCounter("mig_slice", "one of seven"))
    assert energy_counters.of_all(["cuda:1", "cuda:2"]) == NoCounter("mig_slice", "one of seven")
