"""Define the schema of a figure in ``run.json``: its number, its bounds, and every note that a page reads.

A test checks that every note that is read anywhere is in this schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from bench.drift.suites.generation import MOST_STEPS
from bench.metrics import speculation, split
from bench.store.values import Amount, Block, Count, Name, Number, Small

MOST_POINTS = 1000  # points of the curve of a cascade; a run has 41
CurveStep = Annotated[list[Number | None], Field(min_length=4, max_length=4)]
CurvePoint = Annotated[list[Number], Field(min_length=5, max_length=5)]
Learnt = Annotated[list[Any], Field(max_length=3)]
# The notes that pages need to describe a figure, by the figure's key.
NEEDED: Mapping[str, tuple[str, ...]] = {
    speculation.SPEEDUP.key: ("gamma", "draft_cost", "verify_cost"),
    split.STEP.key: ("edge_s", "cloud_s", "link_s", "sent_bytes", "received_bytes"),
    split.PROMPT.key: ("edge_s", "cloud_s", "link_s", "sent_bytes", "received_bytes"),
}


class FigureBlock(Block):
    """A figure in ``run.json``: a number, or the summary of many."""

    unit: str
    higher_is_better: bool | None
    formula: str
    ci_low: Number | None
    ci_high: Number | None
    value: Number | None = None
    n: Count | None = None
    mean: Number | None = None
    sd: Number | None = None
    min: Number | None = None
    max: Number | None = None
    p50: Number | None = None
    p90: Number | None = None
    p95: Number | None = None
    p99: Number | None = None
    noise_floor: Number | None = None
    floors: dict[Name, Number | None] | None = None
    se: Number | None = None
    top1: Number | None = None
    correlation: Number | None = None
    differ: Small | None = None
    format: Name | None = None
    new: Small | None = None
    gone: Small | None = None
    outside: bool | None = None
    survival: Annotated[list[CurveStep], Field(max_length=MOST_STEPS)] | None = None
    window_means: list[Number] | None = None
    windows: Count | None = None
    window: Count | None = None
    asked: Count | None = None
    text: str | None = None
    seconds: Number | None = None
    others: Annotated[float, Field(ge=0, le=1)] | None = None
    gamma: Number | None = None
    draft_cost: Number | None = None
    verify_cost: Number | None = None
    p: Annotated[float, Field(ge=0, le=1)] | None = None
    lost: Small | None = None
    gained: Small | None = None
    unanswered: Small | None = None
    at_chance: bool | None = None
    least_change: Number | None = None
    phases: dict[str, Number | None] | None = None
    alone: Number | None = None
    again: Number | None = None
    cut: Number | None = None
    documents: Count | None = None
    texts: str | None = None
    floor: Number | None = None
    reached: Small | None = None
    output_tokens: Count | None = None
    text_level: bool | None = None
    good: Count | None = None
    requests: Count | None = None
    passes: Count | None = None
    escalated: Number | None = None  # a count of requests, or a share of the held-out half
    offline: Count | None = None
    refused: list[list[Any]] | None = None
    by_tokens: bool | None = None
    learnt: list[Learnt] | None = None
    usd_per_hour: Amount | None = None
    power_usd_per_hour: Amount | None = None
    suite: Name | None = None
    towards: Annotated[list[Name], Field(max_length=2)] | None = None
    curve: Annotated[list[CurvePoint], Field(max_length=MOST_POINTS)] | None = None
    here: CurvePoint | None = None
    falls: list[Any] | None = None
    edge_s: Amount | None = None
    cloud_s: Amount | None = None
    link_s: Amount | None = None
    sent_bytes: Amount | None = None
    received_bytes: Amount | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> FigureBlock:
        if (self.value is None) == (self.mean is None):
            raise ValueError("should have a value or a mean")
        if self.windows is not None and self.n is None:
            raise ValueError("should say n, as it is over windows")
        if self.p is not None and None in (self.n, self.lost, self.gained):
            raise ValueError("should say n, lost and gained, as it has p")
        return self
