"""Record a run and its rows, as the journal has them. Every figure is computed from these records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from bench.records.cascades import Cascaded
from bench.records.drift import Activations, DriftWindow, SaidTexts, SuiteAnswers, Together
from bench.records.encodings import EncodedTexts
from bench.records.json_form import Json
from bench.records.loaded_model import Loaded
from bench.records.loads import LoadBlock
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
ANY = "*"  # in ``ArmRecord.reached``: the process cannot be observed, so it may have read any file


@dataclass(frozen=True)
class Sides(Generic[Kind]):
    """Hold the same measurement of a baseline and of a variant."""

    baseline: Kind
    variant: Kind


@dataclass(frozen=True)
class ColdStart:
    """Record how long a fresh process took to load the model, and to answer its first request."""

    load_s: float
    first_request_ms: float


@dataclass(frozen=True)
class ArmRecord:
    """Hold all measurements of one row. A field that is None or empty was not measured.

    ``model`` is the row's own model; ``models`` are those that its steps name, by ``optimise.VERB.KEY``.

    The evaluation text is scored in several calls. ``routed`` (tokens per expert of each layer) and
    ``activations`` have one entry per call; ``logits`` has the smallest and the largest logit of each window.
    ``floor`` compares the baseline with itself with other kernel shapes, ``floors`` under other conditions.

    ``server`` says how a server was started and what it reported about itself. ``loads`` are the blocks in
    which it alone was under load, ``said`` compares its replies with those of the baseline's server.
    ``encoded`` compares the outputs of an encoder with its baseline's. In a gate on commits, ``reached`` maps
    each file of the row's commit that either side has read to its SHA-256.
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
    activations: tuple[Sides[Activations | None], ...] = ()
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
        """Return the rule, threshold and prices of a cascade, as its worker reported them; None otherwise."""
        steps = self.loaded.evidence if self.loaded else ()
        return next((step["cascade"] for step in reversed(steps) if step.get("cascade")), None)


@dataclass(frozen=True)
class UnitRecord:
    """Record one pair of freshly started workers that decoded the same requests. It is one sample of a ratio.

    ``baseline_ns`` and ``variant_ns`` hold one tuple per batch, with one entry per turn. ``void`` says why
    the unit does not count ('' if it does); it is set for disturbances, never for the result. ``from_run``
    names the earlier gate from which the unit was taken over. ``design`` says how the two sides shared the
    machine: in turns by token (``steps``) or by request (``requests``), at the same time on one processor
    (``slices``), or one after the other (``abba``).

    Some fields are None or empty in most units. ``requests`` is how many requests each side decoded, if their
    workloads differ. ``tokens`` counts prompts and answers if each answer comes all at once, because its
    length may then differ from unit to unit. ``replies`` has a fingerprint of each batch's replies. ``loads``
    are the blocks of servers, which have no batches. ``cascaded`` and ``baseline_cascaded`` have one entry
    per request of a side that is a cascade. ``asked_again`` says that the same process had been asked each of
    the timed requests before, so that a cache of the user's code may have answered them.
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
    asked_again: bool = False

    @property
    def apart(self) -> bool:
        """Return whether the two processes ran one after the other, and not in turns."""
        return self.design == "abba"

    @property
    def shared(self) -> bool:
        """Return whether the two processes ran at the same time on one processor."""
        return self.design == "slices"


@dataclass(frozen=True)
class RunRecord:
    """Hold one run, as its journal has it; ``inputs`` maps each file that its config names to its SHA-256."""

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

    def valid_units_of(self, arm: ArmRecord) -> tuple[UnitRecord, ...]:
        """Return the pairs of processes that compared the arm with its baseline, without the void ones."""
        return tuple(unit for unit in self.units_of(arm) if not unit.void)

    def units_of(self, arm: ArmRecord) -> tuple[UnitRecord, ...]:
        """Return all pairs of processes that compared the arm with its baseline, the void ones too."""
        return tuple(self._units.get((arm.group, arm.name), ()))

    def baseline_of(self, arm: ArmRecord) -> ArmRecord | None:
        """Return the baseline of the arm's comparison group; None if the group has none."""
        return self._baselines.get(arm.group)

    @cached_property
    def compared(self) -> tuple[tuple[ArmRecord, ArmRecord], ...]:
        """Return every variant with its baseline, as (baseline, variant)."""
        pairs = ((self.baseline_of(arm), arm) for arm in self.arms if not arm.is_baseline)
        return tuple((base, arm) for base, arm in pairs if base is not None)

    @cached_property
    def groups_that_count_tokens(self) -> frozenset[str]:
        """Return the comparison groups in which the units counted their own tokens."""
        return frozenset(unit.group for unit in self.units if unit.tokens is not None)

    @cached_property
    def _units(self) -> dict[tuple[str, str], list[UnitRecord]]:
        by_row: dict[tuple[str, str], list[UnitRecord]] = {}
        for unit in self.units:
            by_row.setdefault((unit.group, unit.variant), []).append(unit)
        return by_row

    @cached_property
    def _baselines(self) -> dict[str, ArmRecord]:
        return {arm.group: arm for arm in reversed(self.arms) if arm.is_baseline}
