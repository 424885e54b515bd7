"""What a finished run tells of each row as a server: its tokens, seconds of work, and price by the hour."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.errors import UsageError
from bench.formatting import did_you_mean
from bench.metrics import cascade, energy, latency, requests, throughput
from bench.pricing.apis import TokenMix
from bench.pricing.break_even import OwnServing
from bench.pricing.cost import Price, kept_price, watt_hour_usd
from bench.report.bands import band
from bench.report.encoders import is_encoder
from bench.report.reading import timed_interval
from bench.results.row import Row
from bench.results.run_summary import RunSummary, in_turns
from bench.stats.figure import value_of
from bench.stats.intervals import Interval

NOT_SAID = "not measured"
MOST_REASONS = 3  # of rows that cannot be priced
CLOSE = ("indistinguishable", "close to the baseline", "not distinguishable from noise")
ROUNDING = 1e-9  # half a machine is exactly half of it


@dataclass(frozen=True)
class Served:
    """One row as a server.

    ``mix`` is the mean request in the row's own tokens, ``billed`` the one that an API is billed for in its
    place, ``batch`` how many requests it decoded at once. ``own`` is the hour of the ``share`` of the machine
    that it occupies, and the seconds of work that one request takes. ``prefill_s`` is the time to the first
    token of such a batch, None where answers came as a whole, and ``step_s`` the time of one further token of
    every request in it. ``drift`` says in a few words how far it is from the baseline. ``hit_rate`` is the
    share of the input that its prompt cache answered; None if it does not say, or says more than all of it.
    """

    title: str
    is_baseline: bool
    mix: TokenMix
    billed: TokenMix
    batch: int
    own: OwnServing
    utilisation: float
    prefill_s: float | None
    step_s: float
    drift: str
    share: float
    rented: bool
    hit_rate: float | None = None

    @property
    def close(self) -> bool:
        """Return whether its answers are close to the baseline's, or cannot be told from them."""
        return self.drift in CLOSE

    @property
    def request_usd(self) -> Interval:
        """Return the dollars of one request at the utilisation of the run's price."""
        return self.own.request_usd(self.utilisation)


def served_rows(run: RunSummary) -> list[Served]:
    """Return every row that was measured to its end and has its own times; the baseline of each cell first.

    Answers may have come as a whole. Raises UsageError if there is none, with the reason of each row: the run
    of a gate measures ratios only, and a cascade has dollars of its own.
    """
    rows, why = list[Served](), list[str]()
    for row in run.rows:
        reason = _not_served(row)
        if reason is None:
            rows.append(_served(run, row))
        else:
            why.append(f"{row.title} {reason}")
    if not rows:
        said = "; ".join(why[:MOST_REASONS]) or "it has no rows"
        raise UsageError(
            f"{run.run_id} has no row with times of its own, so there is nothing to price: {said}"
        )
    return rows


def _not_served(row: Row) -> str | None:
    """Return why a row cannot be priced by its time; None if it can."""
    if not row.ok:
        return f"is {row.status}"
    if row.figure(cascade.EDGE) is not None:
        return "is a cascade: a part of its requests is paid for elsewhere, see its cost in the table"
    if is_encoder(row):
        return "writes no tokens, so nothing of it is billed by an API; `bench plan RUN` plans its texts"
    if _mix(row) is None:
        return "has no time of a whole request by itself"
    return None


def row_called(rows: list[Served], title: str) -> Served:
    """Return the row with this title. Raises UsageError, which names the nearest one."""
    found = {row.title: row for row in rows}
    if title in found:
        return found[title]
    hint = did_you_mean(title, found, f"it has {', '.join(found)}")
    raise UsageError(f"no measured row called {title!r} in this run ({hint})")


def _served(run: RunSummary, row: Row) -> Served:
    first, step = (timed_interval(run, row, metric) for metric in (latency.TTFT, latency.TPOT))
    mix = _mix(row)
    assert mix is not None, "_not_served says so otherwise"
    share = value_of(row.figure(requests.CACHED))
    hit_rate = share if share is not None and share <= 1 else None
    own, price = own_serving(run, row)
    return Served(
        title=row.title,
        is_baseline=row.is_baseline,
        mix=mix,
        billed=replace(billed_mix(run, row) or mix, cached_share=hit_rate or 0.0),
        batch=int(row.workload.get("batch_size") or 1),
        own=own,
        utilisation=price.utilisation,
        prefill_s=None if first is None else first.value / 1000,
        step_s=step.value / 1000 if step is not None else 0.0,
        drift="the baseline" if row.is_baseline else band(row) or NOT_SAID,
        share=price.devices,
        rented=run.price["ownership"] == "rented",
        hit_rate=hit_rate,
    )


def own_serving(run: RunSummary, row: Row) -> tuple[OwnServing, Price]:
    """Return a row that has requests a second as a server, and the price of the run."""
    requests = row.figure(throughput.REQUESTS)
    assert requests is not None, "only a row with requests a second is a server"
    price = kept_price(run.price, run.run_id, row.facts.threads if row.facts else None)
    return _own(run, row, price, requests.interval), price


def billed_mix(run: RunSummary, row: Row) -> TokenMix | None:
    """Return the mean request that an API is billed for in the place of a row; None if the row has no tokens.

    It is that of the baseline in the row's own cell: an API answers with a model that was not changed. A row
    with other requests than its baseline is billed by its own.
    """
    base = run.baseline_of(row)
    alike = dict(base.workload) == dict(row.workload)
    return (_mix(base) if alike else None) or _mix(row)


def _mix(row: Row) -> TokenMix | None:
    """Return the mean tokens of a request: the row's tokens per second divided by its requests per second."""
    requests, output, total = (
        value_of(row.figure(metric)) for metric in (throughput.REQUESTS, throughput.OUTPUT, throughput.TOTAL)
    )
    if not requests or not output or not total:
        return None
    return TokenMix((total - output) / requests, output / requests)


def _own(run: RunSummary, row: Row, price: Price, requests: Interval) -> OwnServing:
    """Return the machine's hour and the seconds of a request.

    The watts of an idle machine are paid in every hour, and those that work adds are paid in hours of work.
    """
    seconds = _seconds(run, row, requests)
    hour_usd = price.hourly_usd * price.devices
    servers = max(int(1 / price.devices + ROUNDING), 1)
    if price.power_basis == "included":
        return OwnServing(hour_usd, 0.0, seconds, servers)
    joules = value_of(row.figure(energy.PER_REQUEST))
    watts = joules / seconds.value if joules is not None else (price.power_watts or 0.0) * price.devices
    idle = min(price.idle_watts * price.devices, watts)
    each_usd = watt_hour_usd(price.usd_per_kwh, price.pue)
    return OwnServing(hour_usd + idle * each_usd, (watts - idle) * each_usd, seconds, servers)


def _seconds(run: RunSummary, row: Row, requests: Interval) -> Interval:
    """Return the seconds of work of a request.

    Where both sides were measured in turns they are the baseline's times the ratio of whole requests,
    whatever the price; else they are the row's own.
    """
    base = run.baseline_of(row).figure(throughput.REQUESTS)
    ratio, whole = run.comparison(row, latency.E2EL), run.baseline_of(row).figure(latency.E2EL)
    if base is None or whole is None or ratio is None or not in_turns(ratio) or ratio.value is None:
        low, high = (None if not bound else 1 / bound for bound in (requests.high, requests.low))
        return Interval(1 / requests.value, low, high)
    scale = 1 / base.value / whole.value
    return Interval(ratio.value, ratio.value_low, ratio.value_high).times(scale)
