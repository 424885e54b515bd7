"""A plan for an encoder: how many texts a second a machine reads, and how many machines a day of them needs.

A text is done after one pass, in a batch as large as the run's. Nothing is decoded, so no queue of steps is
simulated: a machine gets at most ``MOST_LOAD`` of the texts that it reads if whole batches always wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError
from bench.metrics import throughput
from bench.plan.fleet import MOST_LOAD, Fleet, Stream, fleet
from bench.plan.served import own_serving
from bench.report.encoders import encoded_words, is_encoder
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

FORMULA_TEXTS: Final = (
    f"machines = texts a second of the busiest hour / ({MOST_LOAD:g} * texts/s of a machine)"
)


@dataclass(frozen=True)
class PlannedEncoder:
    """One row of a run as a server of texts.

    ``texts_per_s`` are those of one server that always has whole batches of ``batch`` texts, each of which
    takes ``batch_s`` seconds. ``month_usd`` are the dollars of the machines of the busiest hour all month,
    and ``scaled_usd`` those of the machines that each hour needs (None where none can be rented by the hour),
    both with power where it is billed apart. ``beside`` says how its outputs differ from the baseline's.
    """

    title: str
    batch: int
    texts_per_s: Interval
    batch_s: float
    share: float
    fleet: Fleet
    month_usd: float
    scaled_usd: float | None
    beside: str


def is_of_encoders(run: RunSummary) -> bool:
    """Return whether a run is of encoders: a config has rows of one task only."""
    return any(map(is_encoder, run.rows))


def planned_encoders(run: RunSummary, stream: Stream) -> list[PlannedEncoder]:
    """Plan every row that was measured to its end and has its own times, for the texts of a stream.

    The tokens of the stream do not count: the run's own texts were measured. Raises UsageError if there is no
    such row, as in the run of a gate, which measures ratios only.
    """
    rows = [row for row in run.rows if row.ok and row.figure(throughput.REQUESTS) is not None]
    if not rows:
        raise UsageError(
            f"{run.run_id} has no row with texts a second of its own, so there is nothing to plan"
        )
    return [_planned(run, row, stream) for row in rows]


def _planned(run: RunSummary, row: Row, stream: Stream) -> PlannedEncoder:
    own, price = own_serving(run, row)
    text_s, batch = own.request_s, int(row.workload.get("batch_size") or 1)
    low, high = (None if not bound else 1 / bound for bound in (text_s.high, text_s.low))
    machines = fleet(MOST_LOAD / text_s.value, stream, own.hour_usd / price.devices, price.devices)
    power_usd = own.busy_hour_usd * text_s.value / 3600 * stream.per_month
    rented = run.price["ownership"] == "rented"
    return PlannedEncoder(
        title=row.title,
        batch=batch,
        texts_per_s=Interval(1 / text_s.value, low, high),
        batch_s=batch * text_s.value,
        share=price.devices,
        fleet=machines,
        month_usd=machines.fixed_usd + power_usd,
        scaled_usd=machines.scaled_usd + power_usd if rented else None,
        beside="the baseline" if row.is_baseline else encoded_words(row) or "not compared",
    )
