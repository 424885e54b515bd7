"""Samples whose times are data."""

from __future__ import annotations

from dataclasses import replace

from bench.records.samples import Sample

MS = 1_000_000
BASE = Sample(
    number=0, scheduled_ns=0, sent_ns=0, end_ns=0, status="ok", reason="", http_status=200, attempts=1,
    reconnects=0, connect_ns=0, events_ns=(), tokens=(), thoughts=0, n_in=10, n_cached=None, asked_in=10,
    asked_out=4, counted="usage", verified=True, doubt="", finish="length",
)  # fmt: skip


def sample(
    number: int = 0, scheduled: float = 0, sent: float | None = None, ttft: float = 100, gap: float = 20,
    tokens: tuple[int, ...] = (1, 1, 1, 1), **more: object,
) -> Sample:  # fmt: skip
    """A request: milliseconds of its schedule, sending (if absent: as scheduled), first token and gaps."""
    at = scheduled if sent is None else sent
    events = tuple(round((at + ttft + gap * one) * MS) for one in range(len(tokens)))
    made = replace(
        BASE, number=number, scheduled_ns=round(scheduled * MS), sent_ns=round(at * MS), events_ns=events,
        tokens=tokens, end_ns=events[-1] if events else round((at + ttft) * MS),
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]
