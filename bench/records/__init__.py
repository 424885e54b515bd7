"""The measurements as frozen records, read back from the journal. All evaluation starts from these records.

Time stamps are in nanoseconds since the start of their pass, sizes in bytes; other units are in the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class TimedBatch:
    """Requests that were decoded together: the times of sending, of each token and of the end. ``tokens``
    holds one tuple per request."""

    sent_ns: int
    stamps_ns: tuple[int, ...]
    end_ns: int
    input_tokens: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]

    @property
    def requests(self) -> int:
        """Return the number of requests in the batch."""
        return len(self.tokens)

    @property
    def prefill_s(self) -> float:
        """Return the time from sending to the first token."""
        return (self.stamps_ns[0] - self.sent_ns) / 1e9

    @property
    def decode_s(self) -> float:
        """Return the time from the first token to the last."""
        return (self.stamps_ns[-1] - self.stamps_ns[0]) / 1e9

    @property
    def duration_s(self) -> float:
        """Return the time from sending to the end."""
        return (self.end_ns - self.sent_ns) / 1e9


@dataclass(frozen=True)
class DriftWindow:
    """One window of the evaluation text, with a value for each scored position. ``more`` holds the values of
    further statistics by name."""

    kld: tuple[float, ...]
    same_top: tuple[int, ...]
    ln_p_base: tuple[float, ...]
    ln_p_variant: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash the statistics that every window has, and leave out ``more``."""
        return hash((self.kld, self.same_top, self.ln_p_base, self.ln_p_variant))


@dataclass(frozen=True)
class Facts:
    """What an engine reports about its loaded model, read back from the model and not from the config.

    ``device`` is ``cpu`` or ``cuda:0``. ``context`` is the longest sequence in tokens, or None if the model
    has no limit. ``quantised_checkpoint`` is the method that packed the checkpoint before it was loaded.
    ``loaded`` is anything else that the engine can report, such as the operators it uses.
    """

    device: str
    dtype: str
    vocabulary: int
    random_weights: bool
    engine: str = ""
    device_name: str = ""
    attention: str = ""
    threads: int | None = None
    context: int | None = None
    kv_bytes_per_token: int | float | None = None  # whole numbers stay so, or `verify` finds a difference
    quantised_checkpoint: str | None = None
    loaded: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Return whether the model is on a GPU."""
        return self.device.startswith("cuda")

    @property
    def kind_of_device(self) -> str:
        """Return ``cpu`` or ``cuda``."""
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Loaded:
    """What was found in the loaded model, read back from it."""

    facts: Facts
    load_s: float
    optimise_s: float
    load_memory: Json
    weights_bytes: int
    bytes_by_dtype: Mapping[str, int]
    parameters: int
    evidence: tuple[Json, ...]


@dataclass(frozen=True)
class WarmUp:
    """The times of the warm-up requests, and the kernels of one decode step."""

    durations_ms: tuple[float, ...]
    steady: bool
    first_request_ms: float
    kernels: tuple[Json, ...] = ()


@dataclass(frozen=True)
class ArmRecord:
    """All measurements of one row. A field that is None or empty was not measured."""

    name: str
    group: str
    is_baseline: bool
    status: str = "interrupted"
    reason: str = ""
    model: Json = field(default_factory=dict)
    runtime: Json = field(default_factory=dict)
    workload: Json = field(default_factory=dict)
    optimise: tuple[str, ...] = ()
    loaded: Loaded | None = None
    warm_up: WarmUp | None = None
    prompts_digest: str | None = None
    end_ids: tuple[int, ...] = ()
    solo: tuple[TimedBatch, ...] = ()
    memory: Json | None = None
    energy: Json | None = None
    drift: tuple[DriftWindow, ...] = ()
    drift_reason: str = ""
    floor: tuple[DriftWindow, ...] = ()
    ceilings: Mapping[str, float] | None = None
    counters: Json | None = None
    noise: tuple[Json, ...] = ()
    probes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitRecord:
    """One pair of freshly started workers that decoded the same requests in turns: one sample of a run or a
    gate.

    ``baseline_ns`` and ``variant_ns`` hold one list per batch, with one entry per turn. ``counters``,
    ``peaks`` and ``cold`` (how loading and the first request went) have the keys ``baseline`` and
    ``variant``. ``void`` says why the whole unit does not count (never because of its result). ``from_run``
    names the run from which an earlier unit of the same comparison was taken over.
    """

    number: int
    group: str
    variant: str
    batches: tuple[int, ...]
    spawned_first: int
    baseline_ns: tuple[tuple[int, ...], ...] = ()
    variant_ns: tuple[tuple[int, ...], ...] = ()
    counters: Json | None = None
    peaks: Json | None = None
    cold: Json | None = None
    void: str = ""
    took_s: float = 0.0
    noise: Json = field(default_factory=dict)
    from_run: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run, as its journal records it."""

    run_id: str
    name: str
    schema_version: int
    started_utc: str
    finished_utc: str | None
    harness: Json
    spec: Json
    spec_digest: str
    machine: Json
    price: Json
    text: Json
    arms: tuple[ArmRecord, ...]
    notices: tuple[str, ...] = ()
    gate: Json | None = None
    units: tuple[UnitRecord, ...] = ()

    def pairs_of(self, arm: ArmRecord) -> tuple[UnitRecord, ...]:
        """Return the valid pairs of processes in which the arm and its baseline ran in turns."""
        key = (arm.group, arm.name)
        return tuple(unit for unit in self.units if (unit.group, unit.variant) == key and not unit.void)

    def baseline_of(self, arm: ArmRecord) -> ArmRecord | None:
        """Return the baseline in the arm's own cell of the sweep."""
        return next((one for one in self.arms if one.is_baseline and one.group == arm.group), None)
