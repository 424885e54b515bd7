"""Watch a GPU during a round: neighbours, slowed clocks, temperature and power.

The driver is asked before and after a round, never during it. What happened in between is in the driver's own
counters: the use of the card by each process, and the time for which clocks were held down.

A round is void if

* a process that is not ours used more of the card than is accepted (``measure.max_disturbance``). A process
  that only holds memory takes no time from anybody; it voids a round only where the driver does not say
  how much of the card it used;
* heat, a power brake or another hardware slowdown held the clocks down. These come and go with the room, the
  rack and the round before, and hit whichever side happens to run.

A power cap (``sw power cap``) does not void a round. Large products reach the cap on a healthy card, in
service too, so its clock under the cap is the card's true speed, and a row of large products would have no
valid round. It is recorded with its share of the round, beside the cap. ``idle`` and clocks that the user has
set are recorded too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.formatting import GIB
from bench.machine import nvml
from bench.machine.nvml import Gpu, NoNvml

REASONS = {
    0x1: "idle",
    0x2: "clocks set by the user",
    0x4: "sw power cap",
    0x8: "hw slowdown",
    0x10: "sync boost",
    0x20: "sw thermal slowdown",
    0x40: "hw thermal slowdown",
    0x80: "hw power brake",
    0x100: "display clocks",
}
VOIDING = ("hw slowdown", "sw thermal slowdown", "hw thermal slowdown", "hw power brake")
POWER, THERMAL = 0, 1  # policies whose time the driver adds up
THROTTLED_SHARE = 0.01  # of a round, by heat


@dataclass(frozen=True)
class GpuState:
    """A GPU at one moment. What the driver does not say is None; watts, degrees Celsius, MHz, bytes.

    ``held`` maps the process ids that the driver names to the bytes that they hold on the GPU. ``held_down``
    has (reference, held down) in seconds for power and heat, of which only differences mean something.
    ``seen_us`` is the driver's time of its newest sample of use by process.
    """

    temperature_c: int | None = None
    power_w: float | None = None
    power_cap_w: float | None = None
    default_cap_w: float | None = None
    sm_mhz: int | None = None
    used_bytes: int | None = None
    reasons: tuple[str, ...] | None = None
    held: Mapping[int, int | None] | None = None
    held_down: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    seen_us: int = 0


@dataclass(frozen=True)
class GpuRound:
    """What a round saw: why it is void (``""`` if it is not), and what is recorded of it."""

    void: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


def look(library: Any, gpu: Gpu) -> GpuState:
    """Ask the driver for the state of a GPU. Takes a few milliseconds; call it outside of timed regions."""

    def ask(function: str, *more: Any) -> Any | None:
        return nvml.ask(library, function, gpu.board, *more)

    memory = nvml.ask(library, "nvmlDeviceGetMemoryInfo", gpu.handle)
    held = {policy: _held_down(ask("nvmlDeviceGetViolationStatus", policy)) for policy in (POWER, THERMAL)}
    return GpuState(
        temperature_c=ask("nvmlDeviceGetTemperature", 0),
        power_w=_watts(ask("nvmlDeviceGetPowerUsage")),
        power_cap_w=_watts(ask("nvmlDeviceGetEnforcedPowerLimit")),
        default_cap_w=_watts(ask("nvmlDeviceGetPowerManagementDefaultLimit")),
        sm_mhz=ask("nvmlDeviceGetClockInfo", 1),
        used_bytes=None if memory is None else int(memory.used),
        reasons=_reasons(library, gpu),
        held=nvml.processes(library, gpu),
        held_down={policy: times for policy, times in held.items() if times is not None},
        seen_us=max((sample.timeStamp for sample in _samples(library, gpu, 0)), default=0),
    )


def _reasons(library: Any, gpu: Gpu) -> tuple[str, ...] | None:
    bits = nvml.ask(library, "nvmlDeviceGetCurrentClocksEventReasons", gpu.board)
    if bits is None:  # the name before driver 535
        bits = nvml.ask(library, "nvmlDeviceGetCurrentClocksThrottleReasons", gpu.board)
    return None if bits is None else tuple(words for bit, words in REASONS.items() if bits & bit)


def _held_down(status: Any | None) -> tuple[float, float] | None:
    """Return (reference, time held down) in seconds. NVML gives microseconds and nanoseconds."""
    return None if status is None else (status.referenceTime / 1e6, status.violationTime / 1e9)


def _watts(milliwatts: Any | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1e3


def _samples(library: Any, gpu: Gpu, since_us: int) -> Sequence[Any]:
    """Return the driver's samples of the use of the card by process; none if it keeps none."""
    found: Sequence[Any] = nvml.ask(library, "nvmlDeviceGetProcessUtilization", gpu.handle, since_us) or ()
    return found


def between(
    library: Any, gpu: Gpu, before: GpuState, ours: Sequence[int], workers: int, accepted: float
) -> GpuRound:
    """Return what happened on a GPU since ``before``.

    ``ours`` are the process ids of the harness and of the workers' sessions, ``workers`` how many of our
    processes use the GPU. ``accepted`` is the share of the card that others may have used (0 to 1).
    """
    samples = _samples(library, gpu, before.seen_us)
    after = look(library, gpu)
    neighbours = _neighbours(samples, before, after, set(ours), workers, accepted)
    shares = {policy: _share(before, after, policy) for policy in (POWER, THERMAL)}
    slowed = _slowed(before, after, shares[THERMAL])
    record = {
        "temperature_c": [before.temperature_c, after.temperature_c],
        "power_w": [before.power_w, after.power_w],
        "power_cap_w": after.power_cap_w,
        "default_cap_w": after.default_cap_w,
        "sm_mhz": [before.sm_mhz, after.sm_mhz],
        "used_bytes": [before.used_bytes, after.used_bytes],
        "reasons": [*dict.fromkeys([*(before.reasons or ()), *(after.reasons or ())])],
        "power_capped_share": shares[POWER],
        "thermal_share": shares[THERMAL],
        "neighbours": neighbours or "none seen",
    }
    if _unknown(after, set(ours), workers):
        record["neighbours"] = neighbours or "not known: the driver names no process of ours (a container)"
    return GpuRound(slowed or neighbours, {key: value for key, value in record.items() if value is not None})


def _unknown(after: GpuState, ours: set[int], workers: int) -> bool:
    """Return whether the driver's process ids cannot be ours although we use the GPU: in a container it may
    name none, or those of the host."""
    return after.held is None or bool(workers and not ours & set(after.held))


def _neighbours(
    samples: Sequence[Any], before: GpuState, after: GpuState, ours: set[int], workers: int, accepted: float
) -> str:
    """Say who else used the GPU; ``""`` if nobody did, as far as the driver says."""
    used = _use(samples)
    busy = {pid: share for pid, share in used.items() if share > accepted}
    if _unknown(after, ours, workers):
        extra = len(busy) - workers
        return f"{extra} more process(es) than ours used the GPU" if extra > 0 else ""
    foreign = {pid: share for pid, share in busy.items() if pid not in ours}
    if foreign:
        pid = max(foreign, key=lambda one: foreign[one])
        return f"process {pid} used {foreign[pid]:.0%} of the GPU"
    there = {**(before.held or {}), **(after.held or {})}
    others = {pid: held for pid, held in there.items() if pid not in ours}
    if others and not used:
        pid = max(others, key=lambda one: others[one] or 0)
        holds = "" if others[pid] is None else f" and holds {(others[pid] or 0) / GIB:.1f} GiB of it"
        return f"process {pid} is on the GPU too{holds}, and the driver does not say how much of it it used"
    return ""


def _use(samples: Sequence[Any]) -> dict[int, float]:
    """Return the mean share of the multiprocessors' time that each process used, over its samples."""
    by_pid: dict[int, list[int]] = {}
    for sample in samples:
        by_pid.setdefault(sample.pid, []).append(sample.smUtil)
    return {pid: sum(values) / len(values) / 100 for pid, values in by_pid.items()}


def _share(before: GpuState, after: GpuState, policy: int) -> float | None:
    """Return the share of the round for which a policy held the clocks down; None if the driver does not
    count it."""
    if policy not in before.held_down or policy not in after.held_down:
        return None
    (start, was), (end, held) = before.held_down[policy], after.held_down[policy]
    return round(min(max(held - was, 0.0) / (end - start), 1.0), 5) if end > start else None


def _slowed(before: GpuState, after: GpuState, thermal: float | None) -> str:
    """Say that the clocks were held down by heat or by the hardware; ``""`` if they were not."""
    found = [one for one in VOIDING if one in {*(before.reasons or ()), *(after.reasons or ())}]
    if thermal is not None and thermal > THROTTLED_SHARE and "sw thermal slowdown" not in found:
        found.append(f"heat for {thermal:.0%} of the time")
    if not found:
        return ""
    degrees = "" if after.temperature_c is None else f" ({after.temperature_c} °C)"
    return f"the GPU was slowed down by {', '.join(found)}{degrees}"


class GpuWatch:
    """Watches GPUs from its making to ``end``; it watches nothing where there is no NVML."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        library = nvml.library() if gpus else NoNvml("no_gpu", "")
        self._library = library
        self._gpus = () if isinstance(library, NoNvml) else tuple(gpus)
        self._before = [look(library, gpu) for gpu in self._gpus]

    def end(self, ours: Sequence[int], workers: int, accepted: float) -> GpuRound:
        """Return what happened since; of several GPUs, the first that makes it void says why."""
        rounds = [
            between(self._library, gpu, before, ours, workers, accepted)
            for gpu, before in zip(self._gpus, self._before, strict=True)
        ]
        record = {"gpus": [one.record for one in rounds]} if rounds else {}
        return GpuRound(next((one.void for one in rounds if one.void), ""), record)
