"""Define the schema of a row's blocks that are plain mappings: model, engine, requests, noise and evidence.

They are the same in a journal and in ``run.json``. Other keys are allowed, because other versions of the
program write them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.records.json_form import Json
from bench.store.values import Above0, Amount, Block, Count, Hex, Name, Number, Seconds, Small, Whole

MOST_KERNELS = 20  # per row; this version stores six


class Grid(Block):
    """Describe the grid of a model's weights (``bench.records.grid.Grid``)."""

    file_type: Name
    block: Count | None
    levels: Count | None
    moved: bool
    kl: Number | None = None
    why_not: str | None = None


class Model(Block):
    """Identify the model of a row, and say where it came from."""

    name: Name | None = None
    kind: Name | None = None
    location: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    files_sha256: str | None = None
    parameters: Count | None = None
    grid: Grid | None = None


class Runtime(Block):
    """Hold the engine of a row, as the config asks for it."""

    name: Name = ""
    device: Name = ""
    dtype: Name = ""
    threads: Count | None = None
    task: Name | None = None


class Workload(Block):
    """Describe the requests of a row."""

    name: Name = ""
    requests: Small = 0
    output_tokens: Small = 0
    batch_size: Annotated[int, Field(ge=0, le=4096)] = 0  # the limit of a config; a plan simulates each slot
    input_tokens: Small | None = None


class Noise(Block):
    """Record how much other processes used the machine during a stage."""

    stage: Name
    steal_share: Number | None = None
    foreign_share: Number | None = None
    busy_share: Number | None = None
    load1_before: Number | None = None


class UnitNoise(Noise):
    """Record the same for a whole unit; a void unit may have nothing recorded."""

    stage: Name = ""


class KernelBlock(Block):
    """Record an operator of a decode step."""

    operator: Annotated[str, Field(max_length=20_000)]
    calls: Count
    self_ms: Amount
    share: Annotated[float, Field(ge=0, le=1)]


class Claim(Block):
    """Record a check of the evidence; the expected and the found value may have any type."""

    claim: str
    expected: Any = None
    found: Any = None
    holds: bool


class Bill(Block):
    """Record one-off work: calibration or training."""

    took_s: Amount
    details: dict[str, Any] = Field(default_factory=dict)
    others: Annotated[float, Field(ge=0, le=1)] | None = None
    texts: dict[str, Hex] = Field(default_factory=dict)


class Learnt(Block):
    """Record the questions that trained a cascade's rule, and how many both models answered the same."""

    form: Literal["choices", "replies"]
    suite: Name
    ids: list[Whole]
    n: Count
    same: Count


class Cloud(Block):
    """Identify the API that is a cascade's large model, and what it bills per token."""

    url: Whole
    model: Whole
    source: Whole
    usd_per_input_token: Above0
    usd_per_output_token: Above0


class Cascade(Block):
    """Hold the terms of a cascade: its rule, and the prices of its two sides."""

    rule: Name
    threshold: Number
    sure: Literal["above", "below"]
    edge: Whole
    edge_usd_per_hour: Above0
    edge_power_usd_per_hour: Amount = 0.0
    egress_usd_per_gb: Amount
    same_tokens: bool
    learnt: list[Learnt] = Field(default_factory=list)
    cloud: Cloud | None = None


class Pinned(Block):
    """Hold the processor numbers of a server and of its client."""

    server: list[Small]
    client: list[Small]


class ServerHead(Block):
    """Record how a server was started, and what it reported about itself; no report shows other keys."""

    target: str | None = None
    ready_s: Seconds | None = None
    pinned: Pinned | None = None
    not_pinned: str | None = None
    settings: Json | None = None


class Step(Block):
    """Hold the evidence of a step."""

    step: str
    took_s: Amount | None = None
    checks: list[Claim] = Field(default_factory=list)
    one_off: list[Bill] = Field(default_factory=list)
    cascade: Cascade | None = None
    server: ServerHead | None = None
    note: str | None = None
    between_runs_sd: Annotated[float, Field(ge=0, le=10)] | None = None
