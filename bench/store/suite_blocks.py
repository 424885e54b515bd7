"""Define the schema of behaviour suites in a journal: their items, and the answers of each model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bench.store.values import Block, Count, Hex, Name, Nats, Number, Reply, Seconds, Share, Small, Whole

MOST_ITEMS = 5000
MOST_TASKS = 300  # of lm-eval; each has two figures, and a run has 1,000 with 300 of other kinds
MOST_LAYERS = 100_000
MOST_REASON = 200  # letters of the reason why no answer came
MOST_CHECKED = 100  # letters of the form that an instruction asks for
Values = Annotated[list[Share], Field(min_length=1, max_length=100)]  # one value per metric of a document


class Item(Block):
    """Hold an item of a behaviour suite; a suite may have other keys, and checks them when it judges."""

    id: Name
    lang: Name
    prompt: Whole
    choices: list[Whole] | None = None
    right: Small | None = None
    check: Annotated[list[Annotated[str, Field(max_length=MOST_CHECKED)]], Field(max_length=2)] | None = None
    group: Name | None = None
    chance: Share | None = None
    metrics: list[Name] | None = None


class ReadByLayers(Block):
    """Count the saturated inputs of one side's linear layers (``bench.records.drift.Activations``)."""

    format: Name
    looked: Count
    reach: Annotated[float, Field(ge=0, le=1)]
    layers: Annotated[dict[Name, Count], Field(max_length=MOST_LAYERS)]

    @model_validator(mode="after")
    def _not_more_than_all(self) -> ReadByLayers:
        if sum(self.layers.values()) > self.looked:
            raise ValueError("should not have more at the end of the format than were looked at")
        return self


class Read(Block):
    """Hold the same counts of both sides; None if no format has an end, or if inputs cannot be observed."""

    baseline: ReadByLayers | None
    variant: ReadByLayers | None


class Routed(Block):
    """Record what a cascade did with one request (``bench.records.cascades.Cascaded``)."""

    score: Number
    escalated: bool
    edge_s: Seconds
    cloud_s: Seconds = 0.0
    link_s: Seconds = 0.0
    sent_bytes: Count = 0
    received_bytes: Count = 0
    offline: bool = False
    billed_in: Count = 0
    billed_out: Count = 0
    refused: Annotated[str, Field(max_length=MOST_REASON)] = ""


class OfOneModel(Block):
    """Hold the answers of one of the two models of a cascade."""

    scores: Annotated[list[list[Nats] | None], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)
    replies: Annotated[list[Reply | None], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)


class OfBoth(Block):
    """Hold the answers of both models of a cascade."""

    requests: Annotated[list[Routed | None], Field(max_length=MOST_ITEMS)]
    edge: OfOneModel
    cloud: OfOneModel


class OfTask(Block):
    """Describe a task of lm-eval by its version and its number of examples in the prompt."""

    version: Name | Number | None = None
    n_shot: Small | None = None


class OfHarness(Block):
    """Describe lm-eval by its version and its tasks."""

    harness: Name | None = None
    tasks: dict[Name, OfTask] = Field(default_factory=dict)


class Answers(Block):
    """Hold the answers of a model to a behaviour suite."""

    digest: Hex
    scores: Annotated[list[list[Nats] | None], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)
    replies: Annotated[list[Reply | None], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)
    items: Annotated[list[Item], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)
    both: OfBoth | None = None
    judged: Annotated[list[Values | None], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)
    about: OfHarness = Field(default_factory=OfHarness)

    @model_validator(mode="after")
    def _says_what_is_judged(self) -> Answers:
        if self.judged and not all(item.group and item.metrics for item in self.items):
            raise ValueError("an item that lm-eval has judged should have a group and metrics")
        if len({item.group for item in self.items if item.metrics is not None}) > MOST_TASKS:
            raise ValueError(f"the items should be of at most {MOST_TASKS} tasks; each has its figures")
        return self
