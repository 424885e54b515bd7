"""The schema of a results directory: what each record of a journal holds, and what the free blocks hold.

A run from elsewhere is data, and anybody may have edited it. What is checked here is what the judging half
relies on; further keys are allowed, because other versions of the program write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from bench.errors import IntegrityError
from bench.records import ArmRecord, UnitRecord

MOST_NAME = 300  # letters of a name: a variant's is at most 100, a cell's joins the keys of a sweep
MOST = 1e24  # operations, bytes, dollars: larger than any figure, and a product of several is still a number
SHOWN = 80


def _one_line(text: str) -> str:
    if not text.isprintable() or len(text) > MOST_NAME:
        raise ValueError(f"should be one line of at most {MOST_NAME} printable letters")
    return text


def _a_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("should have a time zone")
    return text


Name = Annotated[str, AfterValidator(_one_line)]
Stamp = Annotated[str, AfterValidator(_a_time)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=MOST)]
Above0 = Annotated[float, Field(allow_inf_nan=False, gt=0, le=MOST)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-MOST, le=MOST)]
Nats = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Count = Annotated[int, Field(ge=0, le=10**24)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Block(BaseModel):
    """A block of which the other keys are not looked at; numbers are numbers and not text."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Grid(Block):
    """The grid of a model's weights."""

    file_type: Name
    block: Count | None
    levels: Count | None
    moved: bool
    kl: Number | None = None
    why_not: str | None = None


class Model(Block):
    """The model of a row: where it came from."""

    name: Name | None = None
    kind: Name | None = None
    location: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    parameters: Count | None = None
    grid: Grid | None = None


class Runtime(Block):
    """The engine of a row, as it was asked for."""

    name: Name = ""
    device: Name = ""
    dtype: Name = ""
    threads: Count | None = None


class Workload(Block):
    """The requests of a row."""

    name: Name = ""
    requests: Count = 0
    output_tokens: Count = 0
    batch_size: Count = 0
    input_tokens: Count | None = None


class Noise(Block):
    """What others did on the machine during a stage."""

    stage: Name
    steal_share: Number | None = None
    foreign_share: Number | None = None
    busy_share: Number | None = None
    load1_before: Number | None = None


class UnitNoise(Noise):
    """The same, of a whole unit: nothing is recorded of a void one."""

    stage: Name = ""


class Claim(Block):
    """A check of the evidence; what was expected and found may be of any type."""

    claim: str
    expected: Any = None
    found: Any = None
    holds: bool


class Bill(Block):
    """One-off work: calibration or training."""

    took_s: Amount
    details: dict[str, Any] = Field(default_factory=dict)


class Step(Block):
    """The evidence of a step."""

    step: str
    took_s: Amount | None = None
    checks: list[Claim] = Field(default_factory=list)
    one_off: list[Bill] = Field(default_factory=list)
    note: str | None = None


class Price(Block):
    """What an hour costs. ``bench/pricing/cost.py`` reads these keys."""

    id: Name
    name: Name
    kind: Literal["cpu", "gpu"]
    ownership: Literal["rented", "owned"]
    currency: Name
    includes_power: bool
    date: Name
    source: str
    note: str | None = None
    vcpus: Annotated[int, Field(ge=1, le=100_000)] | None = None
    gpus: Annotated[int, Field(ge=1, le=100_000)] | None = None
    usd_per_hour: Above0 | None = None
    purchase_usd: Above0 | None = None
    overhead: Amount | None = None
    life_hours: Above0 | None = None
    usd_per_kwh: Amount | None = None
    pue: Amount | None = None
    average_watts: Amount | None = None
    utilisation: Annotated[float, Field(gt=0, le=1)]


class Text(Block):
    """The evaluation text."""

    name: str
    sha256: Hex
    characters: Count | None = None


class Machine(Block):
    """The fingerprint of a machine."""

    cpu_model: str | None = None
    architecture: str | None = None
    kernel: str | None = None
    python: str | None = None
    cpus: Count | None = None
    memory_bytes: Count | None = None
    gpus: list[Any] | None = None
    packages: dict[str, str | None] | None = None


class DriftAsked(Block):
    """The drift block of a config."""

    tokens: Count = 0
    window: Count | None = None
    suites: list[str] = Field(default_factory=list)


class Spec(Block):
    """A config, of which only what the judging half reads is checked."""

    drift: DriftAsked = DriftAsked()
    gate: dict[str, dict[str, Any]] | None = None


class Harness(Block):
    """The code that made a run."""

    version: Name
    source_sha256: Hex


class Gate(Block):
    """The head of a gate: what it compares, by which limits and which test."""

    mode: Literal["commits", "code", "config", "calibration"]
    test: dict[str, Number] = Field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = Field(default_factory=dict)
    gone: list[Name] = Field(default_factory=list)
    calibration: dict[str, Any] | None = None
    differences: dict[str, Any] | None = None
    base_price: Price | None = None


class Head(Block):
    """The first record of a journal."""

    kind: Literal["run_started"]
    at_utc: Stamp
    run_id: Name
    name: Name
    schema_version: Annotated[int, Field(ge=1)]
    harness: Harness
    spec: Spec
    spec_digest: Hex
    machine: Machine
    price: Price
    text: Text
    gate: Gate | None = None


class Finished(Block):
    """The last record of a run that was measured to its end."""

    kind: Literal["run_finished"]
    at_utc: Stamp


class Turns(Block):
    """A batch in turns, in rows from before there were pairs."""

    baseline_ns: list[Count]
    variant_ns: list[Count]


class Window(Block):
    """A window of the evaluation text: logarithms of probabilities, and what is made from them."""

    kld: list[Nats]
    same_top: list[Count]
    ln_p_base: list[Nats]
    ln_p_variant: list[Nats]
    more: dict[Name, list[Number]] = Field(default_factory=dict)


# Fields that are narrower here than in the records, whose free blocks are plain mappings.
_ARM: dict[str, Any] = {
    "name": Name,
    "group": Name,
    "model": Model,
    "runtime": Runtime,
    "workload": Workload,
    "noise": list[Noise],
    "drift": list[Window],
    "floor": list[Window],
}
_UNIT: dict[str, Any] = {"variant": Name, "group": Name, "noise": UnitNoise}


@cache
def _kinds() -> Mapping[str, TypeAdapter[Any]]:
    """Return the checker of each kind of record."""
    arm = _partial("Arm", ArmRecord, _ARM, ("name", "group"))
    unit = _partial("Unit", UnitRecord, _UNIT, ("number", "group", "variant", "batches", "spawned_first"))
    kinds: dict[str, type[BaseModel]] = {
        "run_started": Head,
        "arm": arm,
        "unit": unit,
        "run_finished": Finished,
    }
    return {kind: TypeAdapter[Any](model) for kind, model in kinds.items()}


def _partial(
    name: str, record: type, narrower: Mapping[str, Any], required: tuple[str, ...]
) -> type[BaseModel]:
    """Make a model that holds some fields of a record: an arm is written a few fields at a time."""
    hints = {**get_type_hints(record), **narrower, "duet": list[Turns], "started": bool}
    hints["at_utc"] = Stamp
    fields: dict[str, Any] = {
        key: (kind, ...) if key in required else (kind | None, None) for key, kind in hints.items()
    }
    return create_model(name, **fields)


def check_record(number: int, record: Mapping[str, Any], where: str) -> None:
    """Check the record on line ``number`` of the journal at ``where``.

    Raises IntegrityError with file, line and key. A record of an unknown kind is left alone: nothing reads
    it.
    """
    kind = str(record.get("kind"))
    if kind not in _kinds():
        return
    try:
        _kinds()[kind].validate_python(record)
    except ValidationError as bad:
        raise IntegrityError(f"{where}:{number}: {explained(bad)}") from None
    for step in (record.get("loaded") or {}).get("evidence") or ():
        check_block(Step, step, f"{where}:{number}: loaded.evidence")


def check_block(kind: type[BaseModel], value: object, where: str) -> None:
    """Check a free block. Raises IntegrityError with ``where`` and the key."""
    try:
        kind.model_validate(value)
    except ValidationError as bad:
        raise IntegrityError(f"{where}: {explained(bad)}") from None


def explained(bad: ValidationError) -> str:
    """Return the place and the message of the first thing that is wrong, on one line."""
    first = bad.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place[:MOST_NAME]}: {first['msg']}, not {first['input']!r:.{SHOWN}}"
