"""What makes a round on a GPU void, from what a driver says before and after it."""

from __future__ import annotations

import pytest
from fake_nvml import GIB, READ, Card, Machine, gpu_machine

from bench.machine import gpus
from bench.machine.gpu_watch import GpuRound, GpuWatch
from bench.machine.nvml import Gpu

__all__ = ["gpu_machine"]
OURS = (10, 11)
ACCEPTED = 0.05


def watch(machine: Machine, card: Card, happens: dict[str, object], workers: int = 2) -> GpuRound:
    """A round of ours on a card, during which ``happens`` to the card."""
    machine(card)
    gpu = gpus.gpu_for("cuda")
    assert isinstance(gpu, Gpu)
    watched = GpuWatch([gpu])
    for name, value in happens.items():
        setattr(card, name, value)
    return watched.end(OURS, workers, ACCEPTED)


def ours(**more: object) -> Card:
    return Card(processes={10: 16 * GIB, 11: 16 * GIB}, **more)  # type: ignore[arg-type]


def samples(**use: int) -> list[tuple[int, int, int]]:
    """Three samples of each process's use: p10=40 is 40 % by process 10."""
    return [(1000 + place, int(pid[1:]), share) for pid, share in use.items() for place in range(3)]


def test_a_quiet_round_is_not_void_and_is_recorded(gpu_machine: Machine) -> None:
    found = watch(gpu_machine, ours(), {"temperature": 61, "power_mw": 350_000, "samples": samples(p10=40)})
    assert found.void == ""
    (record,) = found.record["gpus"]
    assert record["temperature_c"] == [45, 61]
    assert record["power_w"] == [120.0, 350.0]
    assert record["power_cap_w"] == 700.0
    assert record["neighbours"] == "none seen"


@pytest.mark.parametrize(
    ("happens", "void"),
    [
        ({"samples": samples(p10=40, p11=40, p99=37)}, "process 99 used 37% of the GPU"),
        ({"samples": samples(p10=40, p99=3)}, ""),
        ({"samples": samples(p10=40), "processes": {10: 1, 11: 1, 99: 9 * GIB}}, ""),  # it holds and rests
        (
            {"processes": {10: GIB, 11: GIB, 99: 9 * GIB}},
            "process 99 is on the GPU too and holds 9.0 GiB of it, and the driver does not say how much",
        ),
        ({"processes": {10: GIB, 11: GIB, 99: None}}, "process 99 is on the GPU too, and the driver"),
    ],
)
@pytest.mark.fault(28)
def test_neighbours(gpu_machine: Machine, happens: dict[str, object], void: str) -> None:
    found = watch(gpu_machine, ours(), happens)
    assert found.void.startswith(void) if void else found.void == ""


def test_what_a_neighbour_did_before_the_round_does_not_count(gpu_machine: Machine) -> None:
    before = [(500, 99, 90), (501, 10, 10)]
    found = watch(gpu_machine, ours(samples=before), {"samples": [*before, *samples(p10=40)]})
    assert found.void == ""


@pytest.mark.parametrize("accepted", [0.05, 0.5])
def test_how_much_is_accepted_is_the_config_s(gpu_machine: Machine, accepted: float) -> None:
    card = ours()
    gpu_machine(card)
    gpu = gpus.gpu_for("cuda")
    assert isinstance(gpu, Gpu)
    watched = GpuWatch([gpu])
    card.samples = samples(p10=40, p99=30)
    assert bool(watched.end(OURS, 2, accepted).void) == (accepted < 0.3)


@pytest.mark.parametrize(
    ("said", "void"),
    [({}, ""), ({1: 1, 2: 1}, ""), ({1: 1, 2: 1, 3: 1}, "1 more process(es) than ours used the GPU")],
)
def test_a_container_in_which_processes_have_other_numbers(
    gpu_machine: Machine, said: dict[int, int | None], void: str
) -> None:
    """Whoever uses the card beyond our two workers is somebody else."""
    happens = {"samples": samples(**{f"p{pid}": 40 for pid in said}), "processes": said}
    found = watch(gpu_machine, Card(), happens)
    assert found.void == void
    assert "a container" in found.record["gpus"][0]["neighbours"] or void


@pytest.mark.parametrize(
    ("bits", "void"),
    [
        (0x1, ""),
        (0x2, ""),
        (0x4, ""),
        (0x8, "hw slowdown"),
        (0x10, ""),
        (0x20, "sw thermal slowdown"),
        (0x48, "hw slowdown, hw thermal slowdown"),
        (0x80, "hw power brake"),
        (0x100, ""),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.fault(28)
def test_slowed_clocks(gpu_machine: Machine, bits: int, void: str, when: str) -> None:
    """Heat and hardware void a round; the power cap is the card's true speed and is recorded."""
    card, later = ours(reasons=bits if when == "before" else 0), {"reasons": bits, "temperature": 88}
    found = watch(gpu_machine, card, later if when == "after" else {"temperature": 88})
    assert found.void == (f"the GPU was slowed down by {void} (88 °C)" if void else "")
    if bits == 0x4:
        assert "sw power cap" in found.record["gpus"][0]["reasons"]


@pytest.mark.parametrize(("held_ms", "void"), [(0, False), (9, False), (11, True), (1000, True)])
def test_heat_between_two_looks_is_in_the_driver_s_counter(
    gpu_machine: Machine, held_ms: int, void: bool
) -> None:
    start, second = {0: (10**9, 0), 1: (10**9, 5)}, 10**9 + 10**6
    end = {0: (second, 700 * 10**6), 1: (second, 5 + held_ms * 10**6)}
    found = watch(gpu_machine, ours(held_down=start), {"held_down": end})
    assert bool(found.void) == void
    assert found.record["gpus"][0]["power_capped_share"] == pytest.approx(0.7)


def test_a_card_that_says_nothing_voids_nothing(gpu_machine: Machine) -> None:
    lacks = {
        f"nvmlDeviceGet{what}"
        for what in (
            "Temperature", "PowerUsage", "EnforcedPowerLimit", "PowerManagementDefaultLimit", "ClockInfo",
            "CurrentClocksEventReasons", "CurrentClocksThrottleReasons", "ViolationStatus",
            "ProcessUtilization", "ComputeRunningProcesses", "MemoryInfo",
        )
    }  # fmt: skip
    assert lacks <= set(READ)
    found = watch(gpu_machine, Card(lacks=lacks), {})
    assert found.void == ""
    assert "not known" in found.record["gpus"][0]["neighbours"]


def test_nothing_is_watched_without_a_gpu_or_its_library(gpu_machine: Machine) -> None:
    assert GpuWatch([]).end(OURS, 2, ACCEPTED) == GpuRound()
    gpu_machine(Card(), library=False)
    assert GpuWatch([Gpu("GPU-1", "x", 1)]).end(OURS, 2, ACCEPTED) == GpuRound()
