"""A run and its rows as the journal records them: from these records everything is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from bench.records.cascades import Cascaded
from bench.records.drift import DriftWindow, SaidTexts, SuiteAnswers, Together
from bench.records.encodings import EncodedTexts
from bench.records.loaded import Loaded
from bench.records.loads import LoadBlock
from bench.records.plain import Json
from bench.records.replies import (
    Counted,
    DeviceTimes,
    EnergyReading,
    MemoryPeaks,
    Speculated,
    StepProfile,
    TimedBatch,
    WarmUp,
)
from bench.records.splits import SplitWork
from bench.records.thinking import Answer

Kind = TypeVar("Kind")
ANY = "*"  # in ``ArmRecord.reached``: a process that nobody can look into may read every file


@dataclass(frozen=True)
class Sides(Generic[Kind]):
    """The same measurement of a baseline and of a variant."""

    baseline: Kind
    variant: Kind


@dataclass(frozen=True)
class ColdStart:
    """How long a fresh process took to load the model, and to answer its first request."""

    load_s: float
    first_request_ms: float


@dataclass(frozen=True)
class ArmRecord:
    """All measurements of one row. A field that is None or empty was not measured.

    ``models`` are those that its steps name beside ``model``, by ``optimise.VERB.KEY``. ``routed`` says how
    many tokens each expert of each layer got, on both sides, for some windows of the evaluation text at a
    time, ``logits`` the smallest and the largest logit of each of them. ``floor`` is the baseline against
    itself with other shapes, ``floors`` in other circumstances. ``reached`` (a gate on commits) holds the
    files of the row's commit that were read, with their SHA-256.
    ``server`` says how a server was started and what it said of itself, ``loads`` are the blocks in which it
    alone was under load, ``said`` are its replies beside those of the baseline's server.
    ``encoded`` compares the outputs of an encoder with its baseline's.
    """

    name: str
    group: str
    is_baseline: bool
    status: str = "interrupted"
    reason: str = ""
    model: Json = field(default_factory=dict)
    models: Mapping[str, Json] = field(default_factory=dict)
    runtime: Json = field(default_factory=dict)
    workload: Json = field(default_factory=dict)
    optimise: tuple[str, ...] = ()
    loaded: Loaded | None = None
    warm_up: WarmUp | None = None
    profile: StepProfile | None = None
    device_times: DeviceTimes | None = None
    prompts_digest: str | None = None
    end_ids: tuple[int, ...] = ()
    solo: tuple[TimedBatch, ...] = ()
    characters: tuple[int, int] | None = None
    texts: tuple[tuple[str, str], ...] = ()
    speculated: Speculated | None = None
    cascaded: tuple[Cascaded, ...] = ()
    split: SplitWork | None = None
    answers: tuple[Answer, ...] | None = None
    memory: MemoryPeaks | None = None
    energy: EnergyReading | None = None
    drift: tuple[DriftWindow, ...] = ()
    routed: tuple[Sides[tuple[tuple[int, ...], ...]], ...] = ()
    logits: tuple[Sides[tuple[tuple[float, float], ...]], ...] = ()
    drift_reason: str = ""
    suites: Mapping[str, SuiteAnswers] = field(default_factory=dict)
    suites_reason: str = ""
    drift_memory: Mapping[str, int | None] | None = None
    floor: tuple[DriftWindow, ...] = ()
    floors: Mapping[str, tuple[DriftWindow, ...]] = field(default_factory=dict)
    together: Together | None = None
    ceilings: Mapping[str, float] | None = None
    counters: Counted | None = None
    noise: tuple[Json, ...] = ()
    probes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    reached: Mapping[str, str] = field(default_factory=dict)
    server: Json = field(default_factory=dict)
    loads: tuple[LoadBlock, ...] = ()
    said: tuple[SaidTexts, ...] = ()
    encoded: EncodedTexts | None = None

    @property
    def cascade(self) -> Json | None:
        """Return the terms of a cascade as its worker found them: rule, threshold, prices; else None."""
        steps = self.loaded.evidence if self.loaded else ()
        return next((step["cascade"] for step in reversed(steps) if step.get("cascade")), None)


@dataclass(frozen=True)
class UnitRecord:
    """One pair of freshly started workers that decoded the same requests in turns: one sample of a run or a
    gate.

    ``baseline_ns`` and ``variant_ns`` hold one list per batch, with one entry per turn. ``void`` says why
    the whole unit does not count (never because of its result). ``from_run`` names the run from which an
    earlier unit of the same comparison was taken over. ``requests`` is given where the sides have different
    workloads: how many requests each decoded. ``tokens`` is given where answers come as a whole: the
    tokens of prompts and answers, which may differ from unit to unit. ``replies`` has a fingerprint of each
    batch's replies on both sides. ``design`` says how the sides shared
    the machine: in turns by token (``steps``) or request (``requests``), or one after the other (``abba``).
    ``loads`` is given for servers, which are put under load in blocks and have no batches.
    ``cascaded`` has an entry for each request of a variant that is a cascade, and ``baseline_cascaded`` of a
    baseline that is one, as the base of a gate may be.
    """

    number: int
    group: str
    variant: str
    batches: tuple[int, ...]
    spawned_first: int
    baseline_ns: tuple[tuple[int, ...], ...] = ()
    variant_ns: tuple[tuple[int, ...], ...] = ()
    counters: Sides[Counted] | None = None
    peaks: Sides[MemoryPeaks] | None = None
    cold: Sides[ColdStart] | None = None
    void: str = ""
    took_s: float = 0.0
    noise: Json = field(default_factory=dict)
    from_run: str = ""
    requests: Sides[int] | None = None
    tokens: Sides[int] | None = None
    replies: Sides[tuple[str, ...]] | None = None
    design: str = "steps"
    loads: Sides[tuple[LoadBlock, ...]] | None = None
    cascaded: tuple[Cascaded, ...] = ()
    baseline_cascaded: tuple[Cascaded, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """One run, as its journal records it; ``inputs`` has the SHA-256 of each file that its config names."""

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
    inputs: Mapping[str, str] = field(default_factory=dict)
    units: tuple[UnitRecord, ...] = ()

    def pairs_of(self, arm: ArmRecord) -> tuple[UnitRecord, ...]:
        """Return the valid pairs of processes in which the arm and its baseline ran in turns."""
        return tuple(unit for unit in self.units_of(arm) if not unit.void)

    def units_of(self, arm: ArmRecord) -> tuple[UnitRecord, ...]:
        """Return every pair of the arm and its baseline, the void ones too."""
        return tuple(self._units.get((arm.group, arm.name), ()))

    def baseline_of(self, arm: ArmRecord) -> ArmRecord | None:
        """Return the baseline in the arm's own cell of the sweep."""
        return self._baselines.get(arm.group)

    @cached_property
    def compared(self) -> tuple[tuple[ArmRecord, ArmRecord], ...]:
        """Every variant, behind its baseline."""
        pairs = ((self.baseline_of(arm), arm) for arm in self.arms if not arm.is_baseline)
        return tuple((base, arm) for base, arm in pairs if base is not None)

    @cached_property
    def groups_that_count_tokens(self) -> frozenset[str]:
        """The cells of the sweep in which a unit counted its own tokens."""
        return frozenset(unit.group for unit in self.units if unit.tokens is not None)

    @cached_property
    def _units(self) -> dict[tuple[str, str], list[UnitRecord]]:
        found: dict[tuple[str, str], list[UnitRecord]] = {}
        for unit in self.units:
            found.setdefault((unit.group, unit.variant), []).append(unit)
        return found

    @cached_property
    def _baselines(self) -> dict[str, ArmRecord]:
        return {arm.group: arm for arm in reversed(self.arms) if arm.is_baseline}
