"""Define the schema of a gate's head in a journal: sides, limits, and what differs between two commits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.store.blocks import Limits, Price
from bench.store.values import Block, Count, Name, Number, Seconds, Share, Small, Stamp


class Difference(Block):
    """Describe a key of the config, or a package, that differs between two commits."""

    what: Name
    base: Any = None
    candidate: Any = None


class NamedFile(Block):
    """Identify by row and key a file that the config names, if its content differs between the commits."""

    row: Name
    what: Name


class Differences(Block):
    """List what differs between two commits, and what the reader should know about both.

    ``files`` names the first of the changed files, and ``more_files`` counts the others.
    ``unpinned`` are packages whose version no file of the commits fixes. The candidate got the same versions
    as the base, unless ``anew`` says that this was not possible. ``pointers`` are files that Git LFS has not
    fetched.
    """

    config: list[Difference]
    packages: list[Difference]
    files: list[str]
    more_files: Count = 0
    inputs: list[NamedFile] = Field(default_factory=list)
    unpinned: list[str] = Field(default_factory=list)
    anew: bool = False
    pointers: list[str] = Field(default_factory=list)


class CalibrationBlock(Block):
    """Hold the noise of a machine, as a gate stores it (``bench.gate.calibration.Calibration``)."""

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
    """Identify one side of a gate by its commit or its interpreter. ``uncommitted``: the commit was made of a
    working tree with changes, and is on no branch."""

    label: Name
    commit: Name | None = None
    uncommitted: bool = False
    python: Name | None = None


class Unmeasured(Block):
    """Say why a gate on commits measured nothing."""

    verdict: Literal["ERROR", "BROKEN_BASE", "UNREACHED"]
    reason: str


class Gate(Block):
    """Hold the head of a gate: what it compared, by which limits and which test."""

    mode: Literal["commits", "code", "config", "calibration"]
    test: dict[Name, Number] = Field(default_factory=dict)
    limits: Limits = Field(default_factory=dict)
    gone: list[Name] = Field(default_factory=list)
    calibration: CalibrationBlock | None = None
    differences: Differences | None = None
    sides: dict[Name, CommitSide] | None = None
    not_compared: list[str] | None = None
    unmeasured: Unmeasured | None = None
    base_price: Price | None = None
    charged_threads: dict[Name, Annotated[Count, Field(ge=1)] | None] = Field(default_factory=dict)
