"""Record each request to a server with its raw times, from which every figure can be computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.records.json_form import Json

Status = Literal["ok", "failed", "cut short"]


@dataclass(frozen=True)
class Sample:
    """Record one request. Times are nanoseconds of the client's monotonic clock.

    ``scheduled_ns`` is when the request should have been sent. ``sent_ns`` is when the client began its first
    attempt; the ``connect_ns`` of connecting come after it. ``end_ns`` is when the reply was complete or
    given up. ``events_ns`` are the times of the events with a token, ``tokens`` is how many each of them
    carried, and the first ``thoughts`` events were reasoning. ``n_cached`` is how many input tokens came from
    a prefix cache, if the server reports it.
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
        """Return the milliseconds from sending to the first token."""
        return (self.events_ns[0] - self.sent_ns) / 1e6

    @property
    def ttft_sched_ms(self) -> float:
        """Return the milliseconds from the scheduled arrival to the first token."""
        return (self.events_ns[0] - self.scheduled_ns) / 1e6

    @property
    def ttfo_ms(self) -> float | None:
        """Return the milliseconds from sending to the first token after the reasoning; None without one."""
        if self.thoughts >= len(self.events_ns):
            return None
        return (self.events_ns[self.thoughts] - self.sent_ns) / 1e6

    @property
    def e2el_ms(self) -> float:
        """Return the milliseconds from sending to the end."""
        return (self.end_ns - self.sent_ns) / 1e6

    @property
    def e2el_sched_ms(self) -> float:
        """Return the milliseconds from the scheduled arrival to the end."""
        return (self.end_ns - self.scheduled_ns) / 1e6

    @property
    def tpot_ms(self) -> float | None:
        """Return the time per output token, (t_m − t_1)/(n_out − k_1); None if there is only one event.

        The first event came at t_1 with k_1 tokens, and the last at t_m. The tokens of the first event are
        left out, because their time is the time to the first token.
        """
        later = self.n_out - self.tokens[0] if self.tokens else 0
        return (self.events_ns[-1] - self.events_ns[0]) / 1e6 / later if later > 0 else None

    def gaps_ms(self) -> list[float]:
        """Return the times between consecutive events (inter-chunk latencies, ICL)."""
        return [(b - a) / 1e6 for a, b in zip(self.events_ns, self.events_ns[1:], strict=False)]

    def itl_ms(self) -> list[float]:
        """Return the inter-token latencies: an event of k tokens after a gap gives k values of gap/k."""
        return [gap / k for gap, k in zip(self.gaps_ms(), self.tokens[1:], strict=True) for _ in range(k)]

    def to_json(self) -> Json:
        """Return the record as JSON for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Sample:
        """Read back what ``to_json`` wrote."""
        lists = {key: tuple(stored[key]) for key in ("events_ns", "tokens")}
        return cls(**{**stored, **lists})
