"""Define the schema of ``run.json``: what reports, gates and comparisons rely on when they read it.

The file is validated before the records of ``run_summary.py`` and ``row.py`` are made from it. Additional
keys are allowed, because other versions of the program write them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bench.gate.limits import MOST_FINDINGS
from bench.results.figure_schema import NEEDED, FigureBlock
from bench.store.blocks import Harness, Machine, Price, Spec, Text
from bench.store.gate_blocks import CalibrationBlock, CommitSide, Differences
from bench.store.replay import MOST_ROWS
from bench.store.row_blocks import MOST_KERNELS, KernelBlock, Model, Noise, Runtime, Step, Workload
from bench.store.values import Above0, Amount, Block, Count, Hex, Name, Number, Seconds, Stamp, Whole


class RowEvidence(Block):
    """The evidence of a row in ``run.json``."""

    steps: list[Step] = Field(default_factory=list)
    bytes_by_dtype: dict[str, Count] = Field(default_factory=dict)
    kernels: Annotated[list[KernelBlock], Field(max_length=MOST_KERNELS)] = Field(default_factory=list)


MOST_METRICS = 1000  # this version has 300


class FactsBlock(Block):
    """What an engine reported about its model."""

    device: str
    dtype: str
    engine: str = ""
    device_name: str = ""
    attention: str = ""
    threads: Count | None = None
    vocabulary: Count = 0
    random_weights: bool = False
    context: Count | None = None
    kv_bytes_per_token: Amount | None = None
    quantised_checkpoint: str | None = None
    loaded: str | None = None


class WarmUpBlock(Block):
    """The times of the warm-up requests."""

    durations_ms: list[Amount]
    steady: bool


class ExampleBlock(Block):
    """A prompt with the replies of the baseline and of the variant."""

    source: Name
    prompt: Whole
    baseline: Whole
    variant: Whole
    same: Count


class RowBlocks(Block):
    """A row of ``run.json``."""

    name: Name
    group: Name
    is_baseline: bool
    status: Name
    reason: str | None = None
    model: Model
    runtime: Runtime
    workload: Workload
    optimisations: list[str]
    noise: list[Noise] | None = None
    evidence: RowEvidence | None = None
    facts: FactsBlock | None = None
    warm_up: WarmUpBlock | None = None
    one_off_s: Amount | None = None
    energy_reason: str | None = None
    drift_reason: str | None = None
    void_pairs: Count = 0
    prompts_sha256: Name | None = None
    models_sha256: dict[Name, Name] | None = None
    examples: list[ExampleBlock] | None = None
    flags: list[str] | None = None
    metrics: dict[Name, FigureBlock | None]
    drift: dict[Name, FigureBlock | None]

    @model_validator(mode="after")
    def _says_what_pages_need(self) -> RowBlocks:
        for key, notes in NEEDED.items():
            figure = self.metrics.get(key)
            for note in notes if figure is not None else ():
                if getattr(figure, note) is None:
                    raise ValueError(f"{key} should say {note}")
        return self


class RatioBlock(Block):
    """A ratio in ``run.json``."""

    variant: Name
    against: Name
    group: Name
    metric: Name
    ratio: Above0
    ci_low: Amount | None
    ci_high: Amount | None
    confidence: Amount
    verdict: Name
    design: Name
    pairs: Count | None = None
    pair_sd: Amount | None = None
    value: Amount | None = None
    value_low: Amount | None = None
    value_high: Amount | None = None
    p: Amount | None = None


class RuleBlock(Block):
    """The finding of a gate about one rule and one row."""

    rule: str
    metric: Name
    group: Name
    variant: Name
    kind: Name
    verdict: Name
    reason: str
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    confidence: Amount | None = None
    units: Count = 0
    evidence_fail: float | None = None  # of any size: it grows with every pair
    evidence_pass: float | None = None
    more_may_help: bool = False


class EffortBlock(Block):
    """How much a gate measured, and what it compared."""

    mode: Name
    units: Count = 0
    void_units: Count = 0
    units_from_earlier_runs: Count = 0
    units_sharing: Count = 0
    seconds_per_unit: Seconds | None = None
    calibration: CalibrationBlock | None = None
    differences: Differences | None = None
    sides: dict[Name, CommitSide] | None = None
    not_compared: list[str] | None = None
    run_id: Name | None = None
    base: Name | None = None


class Judged(Block):
    """The gate of ``run.json``."""

    verdict: Name
    rules: Annotated[list[RuleBlock], Field(max_length=MOST_FINDINGS)]
    evidence: EffortBlock


class Summary(Block):
    """The whole content of ``run.json``."""

    run_id: Name
    name: Name
    started_utc: Stamp
    finished_utc: Stamp | None
    spec_digest: Name
    harness: Harness
    spec: Spec
    machine: Machine
    price: Price
    model: Model | None
    text: Text
    status: Name
    reasons: Annotated[list[str], Field(max_length=4 * MOST_ROWS)]
    variants: Annotated[list[RowBlocks], Field(max_length=MOST_ROWS)]
    comparisons: Annotated[list[RatioBlock], Field(max_length=20 * MOST_ROWS)]
    gate: Judged | None = None
    calibration: CalibrationBlock | None = None
    inputs: dict[str, Hex] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_as_many_metrics_as_there_are(self) -> Summary:
        names = {key for row in self.variants for key in (*row.metrics, *row.drift)}
        names |= {ratio.metric for ratio in self.comparisons}
        names |= {rule.metric for rule in self.gate.rules} if self.gate else set()
        if len(names) > MOST_METRICS:
            raise ValueError(f"should have at most {MOST_METRICS} metrics, as each is a column of a table")
        return self
