"""The free blocks of a results directory: what the judging half relies on in mappings that are no records.

Further keys are allowed, because other versions of the program write them. Numbers are numbers and not text,
and so small that no product of several is infinite.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

DAY_LETTERS = 10  # YYYY-MM-DD
MOST_NAME = 300  # letters of a name: a variant's is at most 100, a cell's joins the keys of a sweep
MOST = 1e24  # operations, bytes, dollars: larger than any figure, and a product of several is still a number


@lru_cache(maxsize=4096)  # the same names of figures stand in every row
def _one_line(text: str) -> str:
    if not text.isprintable() or len(text) > MOST_NAME:
        raise ValueError(f"should be one line of at most {MOST_NAME} printable letters")
    return text


def _whole_letters(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("has half of a letter (a lone surrogate)")
    return text


def _a_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("should have a time zone")
    return text


Name = Annotated[str, AfterValidator(_one_line)]
Whole = Annotated[str, AfterValidator(_whole_letters)]
Stamp = Annotated[str, AfterValidator(_a_time)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=MOST)]
Above0 = Annotated[float, Field(allow_inf_nan=False, gt=0, le=MOST)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-MOST, le=MOST)]
Nats = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1e3)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Small = Annotated[int, Field(ge=0, le=1_000_000)]
Nanoseconds = Annotated[int, Field(ge=1, le=10**18)]
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
    files_sha256: str | None = None
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


class Learnt(Block):
    """What a rule of a cascade learnt: the questions that trained it, and how many agreed."""

    form: Literal["choices", "replies"]
    suite: Name
    ids: list[Whole]
    n: Count
    same: Count


class Cascade(Block):
    """The terms of a cascade: its rule, and what its two sides cost."""

    rule: Name
    threshold: Number
    sure: Literal["above", "below"]
    edge: Whole
    edge_usd_per_hour: Above0
    edge_power_usd_per_hour: Amount = 0.0
    egress_usd_per_gb: Amount
    same_tokens: bool
    learnt: list[Learnt] = Field(default_factory=list)


class Step(Block):
    """The evidence of a step."""

    step: str
    took_s: Amount | None = None
    checks: list[Claim] = Field(default_factory=list)
    one_off: list[Bill] = Field(default_factory=list)
    cascade: Cascade | None = None
    note: str | None = None


def _real_day(text: str) -> str:
    """Return a day that exists, written YYYY-MM-DD. Raises ValueError for any other text."""
    if len(text) != DAY_LETTERS or str(date.fromisoformat(text)) != text:
        raise ValueError("not a day, YYYY-MM-DD")
    return text


Day = Annotated[str, Field(max_length=DAY_LETTERS), AfterValidator(_real_day)]


class Price(Block):
    """What an hour costs. ``bench/pricing/cost.py`` reads these keys."""

    id: Name
    name: Name
    kind: Literal["cpu", "gpu"]
    ownership: Literal["rented", "owned"]
    currency: Name
    includes_power: bool
    date: Day
    source: Whole
    note: Whole | None = None
    vcpus: Annotated[int, Field(ge=1, le=100_000)] | None = None
    gpus: Annotated[int, Field(ge=1, le=100_000)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    usd_per_hour: Above0 | None = None
    purchase_usd: Above0 | None = None
    overhead: Amount | None = None
    life_hours: Above0 | None = None
    usd_per_kwh: Amount | None = None
    pue: Amount | None = None
    average_watts: Amount | None = None
    idle_watts: Amount | None = None
    term: Name | None = None
    usd_per_unit: Above0 | None = None
    rate_date: Day | None = None
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


class Limit(Block):
    """A limit of a gate: shares are text with a % sign."""

    max_increase: Annotated[str, Field(max_length=20)] | None = None
    max_decrease: Annotated[str, Field(max_length=20)] | None = None
    max: Amount | None = None
    min: Amount | None = None


class EnergyAsked(Block):
    """The energy block of a config."""

    g_co2_per_kwh: Amount | None = None
    pue: Amount | None = None
    modelled_watts: Amount | None = None
    date: Day | None = None
    source: Whole | None = None


class Spec(Block):
    """A config, of which only what the judging half reads is checked."""

    drift: DriftAsked = DriftAsked()
    energy: EnergyAsked | None = None
    slo: dict[Name, Number] | None = None
    gate: dict[Name, Limit] | None = None


class Harness(Block):
    """The code that made a run."""

    version: Name
    source_sha256: Hex


class Difference(Block):
    """A key of the config, or a package, that differs between two commits."""

    what: Name
    base: Any = None
    candidate: Any = None


class NamedFile(Block):
    """A file that the config names, by its row and key, with other content in the two commits."""

    row: Name
    what: Name


class Differences(Block):
    """What differs between two commits, and what should be known of both.

    ``unpinned`` are packages whose version no file of the commits fixes; the candidate has those of the base,
    or could not (``anew``). ``pointers`` are files that Git LFS has not fetched.
    """

    config: list[Difference]
    packages: list[Difference]
    files: list[str]
    inputs: list[NamedFile] = Field(default_factory=list)
    unpinned: list[str] = Field(default_factory=list)
    anew: bool = False
    pointers: list[str] = Field(default_factory=list)


class CalibrationBlock(Block):
    """The noise of a machine, as a gate keeps it."""

    run_id: Name
    at_utc: Stamp
    units: Count
    void_units: Count
    unit_sd: Share
    process_sd: Share
    batch_sd: Share
    intraclass_correlation: Share
    lag1_autocorrelation: Annotated[float, Field(ge=-1.001, le=1.001)]
    seconds_per_unit: Seconds
    batches_measured: Small
    batches: Small
    detectable: Share | None
    counters_constant: bool
    cap: Small


class CommitSide(Block):
    """A side of a gate on commits, or an interpreter."""

    label: Name
    commit: Name | None = None
    python: Name | None = None


class Unmeasured(Block):
    """Why a gate on commits has measured nothing."""

    verdict: Literal["ERROR", "UNREACHED"]
    reason: str


class Gate(Block):
    """The head of a gate: what it compared, by which limits and which test."""

    mode: Literal["commits", "code", "config", "calibration"]
    test: dict[Name, Number] = Field(default_factory=dict)
    limits: dict[Name, Limit] = Field(default_factory=dict)
    gone: list[Name] = Field(default_factory=list)
    calibration: CalibrationBlock | None = None
    differences: Differences | None = None
    sides: dict[Name, CommitSide] | None = None
    not_compared: list[str] | None = None
    unmeasured: Unmeasured | None = None
    base_price: Price | None = None
