"""The head of a gate as a journal keeps it: which sides, which limits, what differs between two commits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.store.blocks import Limits, Price
from bench.store.values import Block, Count, Name, Number, Seconds, Share, Small, Stamp


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
    limits: Limits = Field(default_factory=dict)
    gone: list[Name] = Field(default_factory=list)
    calibration: CalibrationBlock | None = None
    differences: Differences | None = None
    sides: dict[Name, CommitSide] | None = None
    not_compared: list[str] | None = None
    unmeasured: Unmeasured | None = None
    base_price: Price | None = None
