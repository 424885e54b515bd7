"""Define one block: what a client is asked, and the times of its requests in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.stats.intervals import quantile


@dataclass(frozen=True)
class Job:
    """What each client is asked to do. ``url`` is the server's root, ``model`` its name in requests,
    ``tokenizer`` the directory of the model, ``prompts`` one prompt for each request, ``place`` an empty
    directory for what the client writes. With a ``rate`` requests come at equal distances, so many a second,
    and ``users`` do not count."""

    url: str
    model: str
    tokenizer: Path
    prompts: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    users: int
    seed: int
    place: Path
    rate: float | None = None

    @property
    def requests(self) -> int:
        """Return how many requests are sent."""
        return len(self.prompts)


@dataclass(frozen=True)
class Timed:
    """One request. Times are in seconds after the first request of the block was sent. ``events_s`` are those
    of the events with tokens, or only of the first and the last one if the client keeps no others."""

    sent_s: float
    events_s: tuple[float, ...]
    end_s: float
    n_in: int | None
    n_out: int
    every_event: bool = True

    @property
    def ttft_ms(self) -> float:
        """Return the milliseconds from sending to the first token."""
        return 1e3 * (self.events_s[0] - self.sent_s)

    @property
    def tpot_ms(self) -> float:
        """Return the milliseconds for each further token."""
        return 1e3 * (self.events_s[-1] - self.events_s[0]) / (self.n_out - 1)


@dataclass(frozen=True)
class Block:
    """What a client wrote: the figures that it prints (ms, tokens/s), and the times of its requests."""

    printed: dict[str, float | None]
    requests: tuple[Timed, ...]
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a row; times are rounded to microseconds."""
        rows = [asdict(one) for one in self.requests]
        for row in rows:
            row["events_s"] = [round(at, 6) for at in row["events_s"]]
            row |= {key: round(row[key], 6) for key in ("sent_s", "end_s")}
        return {
            "printed": self.printed,
            "matched": matched(self.requests),
            "requests": rows,
            "more": self.more,
        }


def matched(requests: Sequence[Timed]) -> dict[str, float | None]:
    """Return the figures of all clients by the definitions of this project, from the times of the requests.

    TTFT and TPOT are means over requests. ITL is the mean over all further tokens, which the times of the
    first and the last token give exactly; its median needs the time of every event. Throughput is the output
    tokens of all requests ÷ (last event − first request sent): not every client keeps the end of a stream.
    """
    gaps = sorted(
        1e3 * (b - a)
        for one in requests
        if one.every_event
        for a, b in zip(one.events_s, one.events_s[1:], strict=False)
    )
    whole_s = sum(one.events_s[-1] - one.events_s[0] for one in requests)
    duration_s = max(one.events_s[-1] for one in requests) - min(one.sent_s for one in requests)
    return {
        "ttft_ms": sum(one.ttft_ms for one in requests) / len(requests),
        "tpot_ms": sum(one.tpot_ms for one in requests) / len(requests),
        "itl_ms": 1e3 * whole_s / sum(one.n_out - 1 for one in requests),
        "itl_p50_ms": quantile(gaps, 0.5) if gaps else None,
        "tok_per_s": sum(one.n_out for one in requests) / duration_s,
    }


def from_first(
    times: Sequence[tuple[float, Sequence[float], float, int | None, int]], every: bool
) -> tuple[Timed, ...]:
    """Return requests from (sent, events, end, input tokens, output tokens), on any clock, in seconds."""
    zero = min(sent for sent, *_ in times)
    return tuple(
        Timed(sent - zero, tuple(at - zero for at in events), end - zero, n_in, n_out, every)
        for sent, events, end, n_in, n_out in sorted(times, key=lambda one: one[0])
    )
