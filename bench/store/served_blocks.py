"""Define the schema of what a journal has about servers: their loads, and their replies.

The journals of runs and those of `bench load` have the same requests, so this schema checks both.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.store.blocks import Price
from bench.store.row_blocks import Pinned
from bench.store.values import (
    Above0,
    Amount,
    Block,
    Count,
    Name,
    Nats,
    Number,
    Reply,
    Small,
    Whole,
    check_block,
)

Clock = Annotated[int, Field(ge=0, le=10**18)]
MOST_REQUEST = 1_000_000  # tokens of an event, and of a request; `bench load` allows no more


class Request(Block):
    """Hold one request to a server, with its times in nanoseconds."""

    number: Small
    scheduled_ns: Clock
    sent_ns: Clock
    end_ns: Clock
    status: Literal["ok", "failed", "cut short"]
    reason: str
    http_status: Small | None
    attempts: Small
    reconnects: Small
    connect_ns: Clock
    events_ns: list[Clock]
    tokens: list[Annotated[int, Field(ge=1, le=MOST_REQUEST)]]  # every event has at least one token
    thoughts: Small
    n_in: Count | None
    n_cached: Count | None
    asked_in: Count
    asked_out: Count
    counted: Name
    verified: bool
    doubt: str
    finish: str | None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.events_ns) != len(self.tokens):
            raise ValueError("should have a number of tokens for each event")
        if self.status != "ok":
            return self
        if not self.events_ns:
            raise ValueError("should have an event, as its reply is whole")
        times = (self.sent_ns, *self.events_ns, self.end_ns)
        if any(later < earlier for earlier, later in pairwise(times)):
            raise ValueError("should be sent before its first event, and end after the last one")
        return self


class Client(Block):
    """Hold how well the client of a load kept to its schedule, as it measured itself."""

    late_p50_ms: Number
    late_p99_ms: Number
    late_max_ms: Number
    lag_p50_ms: Amount | None
    lag_p99_ms: Amount | None
    cpu_share: Amount
    loop: Whole


class Tried(Block):
    """Hold one rate that a search tried."""

    rate: Above0
    requests: Small
    bad: Small
    found: Whole


class Search(Block):
    """Hold the result of a search for the highest rate."""

    holds: Above0 | None
    steps: list[Tried]
    why: Whole


class LoadOfServer(Block):
    """Hold a block in which a server was under load."""

    schedule: Whole
    samples: list[Request]
    client: Client
    stopped: Whole = ""
    search: Search | None = None


class LoadsOfPair(Block):
    """Hold the blocks of both servers of a pair."""

    baseline: list[LoadOfServer]
    variant: list[LoadOfServer]


class Said(Block):
    """Hold the replies of two servers to one prompt, and a second reply of the baseline's server."""

    baseline: Reply
    again: Reply
    variant: Reply
    cut: Small = 0


# ---- the journal of `bench load` -----------------------------------------------------------------


class Settings(Block):
    """Hold the settings that a server reports."""

    version: str | None = None
    dtype: str | None = None
    quantisation: str | None = None
    kv_dtype: str | None = None
    max_length: Count | None = None
    prefix_caching: bool | None = None


class Workload(Block):
    """Name the workload of a load whose prompts were written by people."""

    name: Name


class CacheHits(Block):
    """Count the tokens that a prefix cache had, and all tokens that were looked up in it."""

    hits: Amount
    queries: Amount


class Head(Block):
    """Say what was under load, and how; other keys are kept as they are."""

    target: str
    model: str
    schedule: str
    settings: Settings | None = None
    workload: Workload | None = None
    prompts_again: Small | None = None
    prefix_cache: CacheHits | None = None
    search: Search | None = None
    left_behind: str | None = None
    pinned: Pinned | None = None
    not_pinned: str | None = None


class OfLoad(Block):
    """Hold the first record of a load."""

    head: Head
    slo: dict[Name, Above0]
    price: Price | None


class OfSamples(Block):
    """Hold some requests of a load."""

    samples: list[Request]


class Window(Block):
    """Hold the values of a window of text; a server need not report the probability of the next token."""

    kld: list[Nats]
    same_top: list[Small]
    ln_p_base: list[Nats]
    ln_p_variant: list[Nats | None]


class OfDistributions(Block):
    """Hold how far a server's distributions are from those of its model."""

    baseline: Whole
    text: Whole
    route: Whole
    top: Small | None
    tokenizer: Whole
    windows: list[Window]


class OfTexts(Block):
    """Hold a server's replies and those of its model, as text."""

    baseline: Whole
    text: Whole
    output_tokens: Small
    why: Whole
    said: Annotated[list[Said], Field(min_length=1)]


class OfNoDrift(Block):
    """Say why there is no drift although it was asked for."""

    failed: Whole


class OfEnd(Block):
    """Hold the last record of a load."""

    client: Client
    stopped: Whole


def check_load(record: Mapping[str, Any], where: str) -> None:
    """Check a record of the journal of a load. Raises IntegrityError with ``where`` and the key.

    A record of an unknown kind is not checked, because no code reads it.
    """
    of_drift = OfTexts if "said" in record else OfNoDrift if "failed" in record else OfDistributions
    kinds: dict[str, type[Block]] = {"load": OfLoad, "samples": OfSamples, "drift": of_drift, "end": OfEnd}
    kind = kinds.get(str(record.get("kind")))
    if kind is not None:
        check_block(kind, record, where)
