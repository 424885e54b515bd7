"""What a journal keeps of servers: the loads that one was under, and what it replied.

The journals of runs and those of `bench load` have the same requests, so both are checked by this schema.
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
MOST_REQUEST = 1_000_000  # tokens of an event, and of a request: as `bench load` takes at most


class Request(Block):
    """One request to a server, with its times in nanoseconds."""

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
    tokens: list[Annotated[int, Field(ge=1, le=MOST_REQUEST)]]  # what holds no token is no event
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
    """The client of a load, measured by itself."""

    late_p50_ms: Number
    late_p99_ms: Number
    late_max_ms: Number
    lag_p50_ms: Amount | None
    lag_p99_ms: Amount | None
    cpu_share: Amount
    loop: Whole


class Tried(Block):
    """A rate that a search tried."""

    rate: Above0
    requests: Small
    bad: Small
    found: Whole


class Search(Block):
    """What a search for the highest rate found."""

    holds: Above0 | None
    steps: list[Tried]
    why: Whole


class LoadOfServer(Block):
    """A block in which a server was under load."""

    schedule: Whole
    samples: list[Request]
    client: Client
    stopped: Whole = ""
    search: Search | None = None


class LoadsOfPair(Block):
    """The blocks of both servers of a pair."""

    baseline: list[LoadOfServer]
    variant: list[LoadOfServer]


class Said(Block):
    """The replies of two servers to one prompt, and the second reply of the baseline's."""

    baseline: Reply
    again: Reply
    variant: Reply
    cut: Small = 0


# ---- the journal of `bench load` -----------------------------------------------------------------


class Settings(Block):
    """What a server says of its settings."""

    version: str | None = None
    dtype: str | None = None
    quantisation: str | None = None
    kv_dtype: str | None = None
    max_length: Count | None = None
    prefix_caching: bool | None = None


class Workload(Block):
    """The workload of a load, where its prompts are those of people."""

    name: Name


class CacheHits(Block):
    """Tokens that a prefix cache had, and all that were looked up."""

    hits: Amount
    queries: Amount


class Head(Block):
    """What was under load, and how; further keys are kept as they are."""

    target: str
    model: str
    schedule: str
    settings: Settings | None = None
    workload: Workload | None = None
    prefix_cache: CacheHits | None = None
    search: Search | None = None
    left_behind: str | None = None
    pinned: Pinned | None = None
    not_pinned: str | None = None


class OfLoad(Block):
    """The first record of a load."""

    head: Head
    slo: dict[Name, Above0]
    price: Price | None


class OfSamples(Block):
    """Some requests of a load."""

    samples: list[Request]


class Window(Block):
    """The values of a window of text; a server need not say how likely the next token is."""

    kld: list[Nats]
    same_top: list[Small]
    ln_p_base: list[Nats]
    ln_p_variant: list[Nats | None]


class OfDistributions(Block):
    """How far a server's distributions are from its model's."""

    baseline: Whole
    text: Whole
    route: Whole
    top: Small | None
    tokenizer: Whole
    windows: list[Window]


class OfTexts(Block):
    """How far a server's replies are from its model's, as text."""

    baseline: Whole
    text: Whole
    output_tokens: Small
    why: Whole
    said: Annotated[list[Said], Field(min_length=1)]


class OfNoDrift(Block):
    """Why there is no drift, though it was asked for."""

    failed: Whole


class OfEnd(Block):
    """The last record of a load."""

    client: Client
    stopped: Whole


def check_load(record: Mapping[str, Any], where: str) -> None:
    """Check a record of the journal of a load; one of an unknown kind is left alone, as nothing reads it.

    Raises IntegrityError with ``where`` and the key.
    """
    of_drift = OfTexts if "said" in record else OfNoDrift if "failed" in record else OfDistributions
    kinds: dict[str, type[Block]] = {"load": OfLoad, "samples": OfSamples, "drift": of_drift, "end": OfEnd}
    kind = kinds.get(str(record.get("kind")))
    if kind is not None:
        check_block(kind, record, where)
