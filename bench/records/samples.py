"""What is kept of each request: the raw times from which every figure can be computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.records.plain import Json

Status = Literal["ok", "failed", "cut short"]


@dataclass(frozen=True)
class Sample:
    """One request. Times are monotonic nanoseconds of the client's machine.

    ``scheduled_ns`` is when it should have been sent, ``sent_ns`` when the client began with it (connecting
    is part of it: ``connect_ns``), ``end_ns`` when the reply was complete or given up. ``events_ns`` are the
    times of events with text, ``tokens`` how many tokens each carried, ``thoughts`` how many of the first
    events were reasoning. ``n_cached`` input tokens came from a prefix cache, if the server says so. With
    retries ``sent_ns`` is that of the first attempt.
    """

    number: int
    scheduled_ns: int
    sent_ns: int
    end_ns: int
    status: Status
    reason: str
    http_status: int | None
    attempts: int
    reconnects: int
    connect_ns: int
    events_ns: tuple[int, ...]
    tokens: tuple[int, ...]
    thoughts: int
    n_in: int | None
    n_cached: int | None
    asked_in: int
    asked_out: int
    counted: str
    verified: bool
    doubt: str
    finish: str | None

    @property
    def ok(self) -> bool:
        """Return whether the whole reply came."""
        return self.status == "ok"

    @property
    def n_out(self) -> int:
        """Return the output tokens, those of reasoning included."""
        return sum(self.tokens)

    @property
    def input_tokens(self) -> int:
        """Return the input tokens: the server's number, or what was asked for if it gave none."""
        return self.asked_in if self.n_in is None else self.n_in

    @property
    def ttft_ms(self) -> float:
        """Return the time from sending to the first token."""
        return (self.events_ns[0] - self.sent_ns) / 1e6

    @property
    def ttft_sched_ms(self) -> float:
        """Return the time from the scheduled arrival to the first token."""
        return (self.events_ns[0] - self.scheduled_ns) / 1e6

    @property
    def ttfo_ms(self) -> float | None:
        """Return the time from sending to the first token that is no reasoning; None if all of it was."""
        if self.thoughts >= len(self.events_ns):
            return None
        return (self.events_ns[self.thoughts] - self.sent_ns) / 1e6

    @property
    def e2el_ms(self) -> float:
        """Return the time from sending to the end."""
        return (self.end_ns - self.sent_ns) / 1e6

    @property
    def e2el_sched_ms(self) -> float:
        """Return the time from the scheduled arrival to the end."""
        return (self.end_ns - self.scheduled_ns) / 1e6

    @property
    def tpot_ms(self) -> float | None:
        """Return (t_m − t_1)/(n_out − k_1), without the first event's tokens; None if there are no more."""
        later = self.n_out - self.tokens[0] if self.tokens else 0
        return (self.events_ns[-1] - self.events_ns[0]) / 1e6 / later if later > 0 else None

    def gaps_ms(self) -> list[float]:
        """Return the raw times between events (ICL)."""
        return [(b - a) / 1e6 for a, b in zip(self.events_ns, self.events_ns[1:], strict=False)]

    def itl_ms(self) -> list[float]:
        """Return the time of each token after the first event: k values of gap/k for an event of k tokens."""
        return [gap / k for gap, k in zip(self.gaps_ms(), self.tokens[1:], strict=True) for _ in range(k)]

    def to_json(self) -> Json:
        """Return the record as it stands in the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Sample:
        """Read back what ``to_json`` wrote."""
        lists = {key: tuple(found[key]) for key in ("events_ns", "tokens")}
        return cls(**{**found, **lists})
