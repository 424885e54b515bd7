"""The free blocks of a results directory: what the judging half relies on in mappings that are no records.

Further keys are allowed, because other versions of the program write them. Those of a gate are in
``gate_blocks.py``, those of a row in ``row_blocks.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

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

MOST_TEXTS = 20_000  # of a file of 5,000 pairs there are 10,000


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


class Encoded(Block):
    """The outputs of an encoder beside its baseline's: a number for each text, or for each query."""

    source: Name
    texts: Hex
    documents: Count = 0
    cosines: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    floor: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    rank_correlations: Annotated[list[Number], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    labels_before: Annotated[list[Count], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)
    labels_after: Annotated[list[Count], Field(max_length=MOST_TEXTS)] = Field(default_factory=list)


class DriftAsked(Block):
    """The drift block of a config."""

    tokens: Count = 0
    window: Count | None = None
    suites: list[str | dict[str, Any]] = Field(default_factory=list)


class Limit(Block):
    """A limit of a gate: shares are text with a % sign."""

    max_increase: Annotated[str, Field(max_length=20)] | None = None
    max_decrease: Annotated[str, Field(max_length=20)] | None = None
    max: Amount | None = None
    min: Amount | None = None


Limits = Annotated[dict[Name, Limit], Field(max_length=500)]  # there are not so many metrics


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
    gate: Limits | None = None


class Harness(Block):
    """The code that made a run."""

    version: Name
    source_sha256: Hex
