"""Plan an encoder: how many texts per second a machine reads, and how many machines a stream of texts needs.

A text needs one pass, in a batch as large as in the run. Nothing is decoded, so there is no queue of steps to
simulate. Instead, a machine is planned for at most ``MOST_LOAD`` of the rate that it reaches with full
batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError
from bench.metrics import throughput
from bench.plan.fleet import MOST_LOAD, Fleet, Stream, fleet
from bench.plan.served import own_serving
from bench.pricing.break_even import place_of
from bench.report.encoders import encoded_words, is_encoder
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

FORMULA_TEXTS: Final = (
    f"machines = texts a second of the busiest hour / ({MOST_LOAD:g} * texts/s of a machine)"
)


@dataclass(frozen=True)
class PlannedEncoder:
    """One row of a run, planned as a server of texts.

    ``texts_per_s`` is the rate of one server that always has full batches of ``batch`` texts; a batch takes
    ``batch_s`` seconds. ``month_usd`` is the cost of keeping the machines of the busiest hour all month, and
    ``scaled_usd`` the cost of renting for each hour what it needs (None for owned machines). Both include
    power that is billed separately. ``beside`` says how the outputs differ from the baseline's.
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
    """Return whether the run measured encoders. All rows of a config have the same task."""
    return any(map(is_encoder, run.rows))


def planned_encoders(run: RunSummary, stream: Stream) -> list[PlannedEncoder]:
    """Plan every row that ended well and has its own times, for the texts of a stream.

    The token counts of the stream are not used, because the run measured its own texts. Raises UsageError if
    there is no such row, as in the run of a gate, which measures only ratios.
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
    share = place_of(price.devices)
    machines = fleet(MOST_LOAD / text_s.value, stream, own.rented_hour_usd / share, share)
    power_usd = own.busy_hour_usd * text_s.value / 3600 * stream.per_month
    rented = run.price["ownership"] == "rented"
    return PlannedEncoder(
        title=row.title,
        batch=batch,
        texts_per_s=text_s.inverse(),
        batch_s=batch * text_s.value,
        share=share,
        fleet=machines,
        month_usd=machines.fixed_usd + power_usd,
        scaled_usd=machines.scaled_usd + power_usd if rented else None,
        beside="the baseline" if row.is_baseline else encoded_words(row) or "not compared",
    )
