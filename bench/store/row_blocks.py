"""The free blocks of a row, in a journal and in ``run.json``: model, engine, requests, noise and evidence.

Further keys are allowed, because other versions of the program write them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bench.store.values import Above0, Amount, Block, Count, Name, Number, Seconds, Small, Whole

MOST_KERNELS = 20  # of a row; six are kept


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
    task: Name | None = None


class Workload(Block):
    """The requests of a row."""

    name: Name = ""
    requests: Small = 0
    output_tokens: Small = 0
    batch_size: Annotated[int, Field(ge=0, le=4096)] = 0  # as in a config; a plan simulates so many places
    input_tokens: Small | None = None


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


class KernelBlock(Block):
    """An operator of a decode step."""

    operator: Annotated[str, Field(max_length=20_000)]
    calls: Count
    self_ms: Amount
    share: Annotated[float, Field(ge=0, le=1)]


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


class Cloud(Block):
    """A server in the place of a cascade's large model, and what it bills for a token."""

    url: Whole
    model: Whole
    source: Whole
    usd_per_input_token: Above0
    usd_per_output_token: Above0


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
    cloud: Cloud | None = None


class Pinned(Block):
    """The processors of a server and of the client, by number."""

    server: list[Small]
    client: list[Small]


class ServerHead(Block):
    """How a server was started, and what it said of itself; further keys are shown by nobody."""

    target: str | None = None
    ready_s: Seconds | None = None
    pinned: Pinned | None = None
    not_pinned: str | None = None


class Step(Block):
    """The evidence of a step."""

    step: str
    took_s: Amount | None = None
    checks: list[Claim] = Field(default_factory=list)
    one_off: list[Bill] = Field(default_factory=list)
    cascade: Cascade | None = None
    server: ServerHead | None = None
    note: str | None = None
