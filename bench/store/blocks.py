"""Define the schema of the blocks of a results directory that are plain mappings and not records.

Only the keys that later code relies on are checked. Other keys are allowed, because other versions of the
program write them. The blocks of a gate are in ``gate_blocks.py``, those of a row in ``row_blocks.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from bench.formatting import parse_percent
from bench.store.values import (
    Above0,
    Amount,
    Block,
    Count,
    Day,
    Hex,
    Name,
    Number,
    Whole,
)


def _a_percentage(text: str) -> str:
    parse_percent(text)
    return text


Percentage = Annotated[str, Field(max_length=20), AfterValidator(_a_percentage)]
MOST_TEXTS = 20_000  # a file of 5,000 pairs, which is the largest one, has 10,000 texts


class Price(Block):
    """Hold the price of an hour. ``bench/pricing/cost.py`` reads these keys."""

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
    """Identify the evaluation text."""

    name: str
    sha256: Hex
    characters: Count | None = None


class Machine(Block):
    """Hold the fingerprint of a machine."""

    cpu_model: str | None = None
    architecture: str | None = None
    kernel: str | None = None
    python: str | None = None
    cpus: Count | None = None
    memory_bytes: Count | None = None
    gpus: list[Any] | None = None
    packages: dict[str, str | None] | None = None


class Encoded(Block):
    """Compare the outputs of an encoder with its baseline's: one number per text, or per query."""

    source: Name
    texts: Hex
    documents: Count = 0
    cosines: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    floor: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    rank_correlations: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    labels_before: Annotated[list[Count], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    labels_after: Annotated[list[Count], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)


class DriftAsked(Block):
    """Hold the drift block of a config."""

    tokens: Count = 0
    window: Count | None = None
    suites: list[str | dict[str, Any]] = Field(default_factory=list)


class Limit(Block):
    """Hold the limits of a gate on one metric; relative ones are text with a % sign."""

    max_increase: Percentage | None = None
    max_decrease: Percentage | None = None
    max: Amount | None = None
    min: Amount | None = None


Limits = Annotated[dict[Name, Limit], Field(max_length=500)]  # there are fewer metrics than that


class EnergyAsked(Block):
    """Hold the energy block of a config."""

    g_co2_per_kwh: Amount | None = None
    pue: Amount | None = None
    modelled_watts: Amount | None = None
    date: Day | None = None
    source: Whole | None = None


class Spec(Block):
    """Hold a config; only the parts that later code reads are checked."""

    drift: DriftAsked = Field(default_factory=DriftAsked)
    energy: EnergyAsked | None = None
    slo: dict[Name, Number] | None = None
    gate: Limits | None = None


class Harness(Block):
    """Identify the code that made a run."""

    version: Name
    source_sha256: Hex
