"""What a finished run tells of each row as a server: its tokens, seconds of work, and price by the hour."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UsageError
from bench.formatting import nearest
from bench.metrics import cost, energy, latency, throughput
from bench.pricing.apis import TokenMix
from bench.pricing.book import recorded_price
from bench.pricing.break_even import OwnServing
from bench.pricing.cost import JOULES_PER_KWH, Price, price_of
from bench.report.reading import band, timed_interval
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of
from bench.stats.intervals import Interval

NOT_SAID = "not measured"


@dataclass(frozen=True)
class Served:
    """One row as a server.

    ``mix`` is the mean request in the row's own tokens, ``batch`` how many requests it decoded at once,
    ``own`` the hour of the ``share`` of the machine that it occupies, and the seconds of work that one
    request takes. ``prefill_s`` is the time to the first token of such a batch, ``step_s`` the time of one
    further token of every request in it. ``drift`` says in a few words how far it is from the baseline.
    """

    title: str
    is_baseline: bool
    mix: TokenMix
    batch: int
    own: OwnServing
    utilisation: float
    prefill_s: float
    step_s: float
    drift: str
    hardware: str
    share: float

    @property
    def request_usd(self) -> Interval:
        """Return the dollars of one request at the utilisation of the run's price."""
        return self.own.request_usd(self.utilisation)


def served_rows(run: RunSummary) -> list[Served]:
    """Return every row that was measured to its end and has its own times; the baseline of each cell first.

    Raises UsageError if there is none, as in the run of a gate, which measures ratios only.
    """
    rows = [found for row in run.rows if row.ok and (found := _served(run, row)) is not None]
    if not rows:
        raise UsageError(f"{run.run_id} has no row with times of its own, so there is nothing to price")
    return rows


def row_called(rows: list[Served], title: str) -> Served:
    """Return the row with this title. Raises UsageError, which names the nearest one."""
    found = {row.title: row for row in rows}
    if title in found:
        return found[title]
    close = nearest(title, found)
    hint = f"did you mean {close!r}?" if close else f"it has {', '.join(found)}"
    raise UsageError(f"no measured row called {title!r} in this run ({hint})")


def _served(run: RunSummary, row: Row) -> Served | None:
    first, step, dollars = (
        timed_interval(run, row, metric) for metric in (latency.TTFT, latency.TPOT, cost.PER_REQUEST)
    )
    mix, requests = _mix(row), row.figure(throughput.REQUESTS)
    if mix is None or requests is None or first is None or dollars is None:
        return None
    price = _price(run, row)
    return Served(
        title=row.title,
        is_baseline=row.is_baseline,
        mix=mix,
        batch=int(row.workload.get("batch_size") or 1),
        own=_own(row, price, requests.interval, dollars),
        utilisation=price.utilisation,
        prefill_s=first.value / 1000,
        step_s=step.value / 1000 if step is not None else 0.0,
        drift="the baseline" if row.is_baseline else band(row) or NOT_SAID,
        hardware=str(run.price["name"]),
        share=price.devices,
    )


def _mix(row: Row) -> TokenMix | None:
    """Return the mean tokens of a request: the row's tokens per second divided by its requests per second."""
    requests, output, total = (
        value_of(row.figure(metric)) for metric in (throughput.REQUESTS, throughput.OUTPUT, throughput.TOTAL)
    )
    if not requests or not output or not total:
        return None
    return TokenMix((total - output) / requests, output / requests)


def _price(run: RunSummary, row: Row) -> Price:
    block = dict(run.price)
    utilisation = float(block.pop("utilisation", 1.0))
    hardware = recorded_price(block, run.run_id)
    threads = row.facts.threads if row.facts and hardware.kind == "cpu" else None
    return price_of(hardware, threads, utilisation)


def _own(row: Row, price: Price, requests: Interval, dollars: Interval) -> OwnServing:
    """Return the machine's hour and the seconds of a request.

    Where the price includes power, the seconds follow from the table's dollars, which carry the interval of
    the paired measurement. Where power is billed apart, dollars and seconds are those of the row alone.
    """
    hour_usd = price.hourly_usd * price.devices
    if price.power_basis == "included":
        scale = price.utilisation * 3600 / hour_usd
        low, high = (None if bound is None else bound * scale for bound in (dollars.low, dollars.high))
        return OwnServing(hour_usd, 0.0, Interval(dollars.value * scale, low, high))
    low, high = (None if not bound else 1 / bound for bound in (requests.high, requests.low))
    seconds = Interval(1 / requests.value, low, high)
    joules = value_of(row.figure(energy.PER_REQUEST))
    watts = joules / seconds.value if joules is not None else (price.power_watts or 0.0) * price.devices
    busy_usd = watts * 3600 / JOULES_PER_KWH * (price.usd_per_kwh or 0.0) * price.pue
    return OwnServing(hour_usd, busy_usd, seconds)
