"""Describe each row of a finished run as a server: its tokens, its seconds of work, its price per hour."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.errors import UsageError
from bench.formatting import did_you_mean, one_line
from bench.metrics import cascade, energy, goodput, latency, requests, throughput
from bench.plan.two_devices import LEFT_OUT, is_split
from bench.pricing.apis import TokenMix
from bench.pricing.break_even import OwnServing, place_of, servers_of
from bench.pricing.cost import Price, kept_price, power_hours
from bench.records.devices_used import devices_used
from bench.report.bands import band
from bench.report.encoders import is_encoder
from bench.results.paired_figures import shown
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of
from bench.stats.intervals import Interval

BASELINE, NOT_SAID = "the baseline", "not measured"
CLOSED_LOOPS = ("closed-loop", "data-set")  # workloads whose users send new prompts without a pause
MOST_USERS = 1024  # of a closed loop that is simulated, which takes seconds for each hundred of them
MOST_REASONS = 3  # rows whose reason is named if no row can be priced
CLOSE = ("indistinguishable", "close to the baseline", "not distinguishable from noise")


@dataclass(frozen=True)
class Served:
    """One row as a server.

    ``mix`` is the mean request of the row itself, ``billed`` the mean request as an API bills it, and
    ``batch`` the number of requests that were decoded at once. ``own`` has the price per hour of the part of
    a machine that the row used, and the seconds of work per request; ``share`` is the part that must be
    rented for it, which is larger where the parts do not fill the machine. ``prefill_s`` is the
    time to the first token of a batch, or None if answers came as a whole. ``step_s`` is the time per further
    token of all requests in the batch. ``drift`` says in a few words how far the output is from the
    baseline's. ``hit_rate`` is the share of the input that was found in the prompt cache, or None if the
    server reports none, or reports more than 1. ``is_server`` is whether the row was a server under load;
    ``users`` are those of a closed loop, None for another load, and ``requests`` those of one load. ``good``
    is the share of requests that met the limits of the config, or None without limits.
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
    is_server: bool = False
    users: int | None = None
    requests: int = 1
    good: float | None = None

    @property
    def close(self) -> bool:
        """Return whether the answers are close to the baseline's, or cannot be distinguished from them."""
        return self.drift in CLOSE

    @property
    def request_usd(self) -> Interval:
        """Return the US dollars per request at the utilisation of the run's price."""
        return self.own.request_usd(self.utilisation)


def served_rows(run: RunSummary) -> list[Served]:
    """Return every row that ended well and has its own times, with the baseline of each cell first.

    This includes rows whose answers came as a whole. It leaves out the rows of a gate's run, which measures
    only ratios, encoders, which write no tokens, and cascades and models on two devices, whose cost is
    computed elsewhere. Raises UsageError, with the reason of the first rows, if no row is left.
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
    """Return why a row cannot be priced by its time, or None if it can."""
    if not row.ok:
        return f"is {row.status}: {one_line(row.reason)}" if row.reason else f"is {row.status}"
    if row.figure(cascade.EDGE) is not None:
        return "is a cascade: a part of its requests is paid for elsewhere, see its cost in the table"
    if is_split(row):
        return LEFT_OUT
    if is_encoder(row):
        return "writes no tokens, so nothing of it is billed by an API; `bench plan RUN` plans its texts"
    if _mix(row) is None:
        return "has no time of a whole request by itself"
    return None


def failed_rows(run: RunSummary) -> list[str]:
    """Return one line that names the rows without figures, and says if the run was not finished;
    nothing if every row has its figures."""
    failed = [f"{row.title} is {row.status}" for row in run.rows if not row.ok]
    if run.finished_utc is None:
        failed.append("the run was not finished, so further rows may be missing")
    return [f"without figures: {', '.join(failed)}"] if failed else []


def must_be_served(run: RunSummary, title: str) -> None:
    """Raise UsageError, with the reason, for a row of the run that cannot be priced by its time."""
    for row in run.rows:
        if row.title == title and (why := _not_served(row)) is not None:
            raise UsageError(f"{title} {why}")


def row_called(rows: list[Served], title: str) -> Served:
    """Return the row with this title. Raises UsageError, which suggests the nearest title."""
    by_title = {row.title: row for row in rows}
    if title in by_title:
        return by_title[title]
    hint = did_you_mean(title, by_title, f"it has {', '.join(by_title)}")
    raise UsageError(f"no measured row called {title!r} in this run ({hint})")


def _served(run: RunSummary, row: Row) -> Served:
    first, step = (shown(run, row, metric) for metric in (latency.TTFT, latency.TPOT))
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
        drift=_drift(row),
        share=place_of(price.devices),
        rented=run.price["ownership"] == "rented",
        hit_rate=hit_rate,
        is_server=row.is_served,
        users=_users(row),
        requests=int(row.workload.get("requests") or 1),
        good=value_of(row.figure(goodput.FRACTION)),
    )


def _drift(row: Row) -> str:
    """Return how far a row's answers are from the baseline's, in a few words; nobody asks that of weights
    that were drawn at random, whose answers are worth nothing."""
    if row.is_baseline:
        return ", ".join(filter(None, (BASELINE, row.random_weights)))
    return row.random_weights or band(row) or NOT_SAID


def _users(row: Row) -> int | None:
    """Return the users of a closed loop that can be simulated, or None for any other load."""
    users = row.workload.get("users")
    if row.workload.get("name") not in CLOSED_LOOPS or not isinstance(users, int):
        return None
    return users if 1 <= users <= MOST_USERS else None


def own_serving(run: RunSummary, row: Row) -> tuple[OwnServing, Price]:
    """Return (the cost and speed of a row as a server, the price of the run).

    The row must have a figure for requests per second.
    """
    rate = shown(run, row, throughput.REQUESTS)
    assert rate is not None, "only a row with requests a second is a server"
    threads = row.facts.threads if row.facts else None
    price = kept_price(run.price, run.run_id, threads, devices_used(row.runtime))
    return _own(row, price, rate.inverse()), price


def billed_mix(run: RunSummary, row: Row) -> TokenMix | None:
    """Return the mean request that an API would bill in place of a row, or None if the row has no tokens.

    It is the mean request of the baseline in the same cell, because the API's model is not modified either. A
    row whose workload differs from its baseline's is billed by its own mean request.
    """
    base = run.baseline_of(row)
    alike = dict(base.workload) == dict(row.workload)
    return (_mix(base) if alike else None) or _mix(row)


def _mix(row: Row) -> TokenMix | None:
    """Return the mean tokens per request: tokens per second divided by requests per second."""
    requests, output, total = (
        value_of(row.figure(metric)) for metric in (throughput.REQUESTS, throughput.OUTPUT, throughput.TOTAL)
    )
    if not requests or not output or not total:
        return None
    return TokenMix((total - output) / requests, output / requests)


def _own(row: Row, price: Price, seconds: Interval) -> OwnServing:
    """Return the price of the machine's hours with the seconds of work per request.

    The watts of an idle machine are paid in every hour; the watts that work adds, only in hours of work.
    """
    joules = value_of(row.figure(energy.PER_REQUEST))
    idle_usd, busy_usd = power_hours(price, None if joules is None else joules / seconds.value)
    hour_usd = price.hourly_usd * price.devices + idle_usd
    unused_usd = hour_usd * (place_of(price.devices) / price.devices - 1)
    return OwnServing(hour_usd, busy_usd, seconds, servers_of(price.devices), max(unused_usd, 0.0))
