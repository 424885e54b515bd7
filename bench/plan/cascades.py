"""Turn the cascades of a run into options of a plan: how long each place works, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.drift.suites import generation
from bench.formatting import format_share
from bench.metrics import cascade, cost
from bench.plan.fleet import Slo
from bench.plan.served import NOT_SAID
from bench.pricing.break_even import place_of
from bench.pricing.cost import kept_price, power_hours
from bench.results.paired_figures import product
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, value_of
from bench.stats.intervals import Interval


@dataclass(frozen=True)
class Place:
    """One place of a cascade, edge or cloud: a server that answers one request after the other.

    A request takes ``request_s`` seconds of work here. A server occupies ``share`` of a machine, which costs
    ``machine_usd`` per hour. ``busy_hour_usd`` is the power that an hour of work of one server adds.
    ``rented`` machines can be paid by the hour; reserved ones cost ``reserved_usd`` per hour.
    """

    request_s: float
    machine_usd: float
    share: float = 1.0
    busy_hour_usd: float = 0.0
    rented: bool = False
    reserved_usd: float | None = None


@dataclass(frozen=True)
class CascadeOption:
    """A cascade: every request comes to the ``edge``, and the share ``escalated`` then goes to the ``cloud``.

    An escalated request waits ``link_s`` for the link, and its reply costs ``egress_usd``. ``slower`` has the
    95 % bounds of the seconds of work, divided by the estimate; it is None if the run has no bounds.
    ``drift`` says in a few words how far the answers are from the baseline's.
    """

    title: str
    edge: Place
    cloud: Place
    escalated: Interval
    link_s: float
    egress_usd: float
    drift: str
    slower: tuple[float, float] | None = None


def cascades_of(
    run: RunSummary, workload: Mapping[str, Any], slo: Slo
) -> tuple[tuple[CascadeOption, ...], tuple[str, ...]]:
    """Return (the cascades of a run that can be planned, the reasons why the others cannot).

    ``workload`` is the workload that is planned. A cascade must have been measured with the same one, because
    the times of whole answers cannot be scaled to other lengths.
    """
    options, why = list[CascadeOption](), list[str]()
    for row in run.rows:
        if not row.ok or row.figure(cascade.EDGE) is None:
            continue
        reason = _not_planned(row, workload, slo)
        if reason is None:
            options.append(_option(run, row))
        else:
            why.append(f"{row.title} is a cascade that is not planned: {reason}")
    return tuple(options), tuple(why)


def _not_planned(row: Row, workload: Mapping[str, Any], slo: Slo) -> str | None:
    """Return why a cascade cannot be planned, or None if it can."""
    notes = _notes(row, cascade.RATE)
    n, sent, offline = (round(_number(notes, key)) for key in ("n", "escalated", "offline"))
    batch = int(row.workload.get("batch_size") or 1)
    if slo.tpot_ms is not None:
        return "its answers come as a whole, so a limit of the time of a further token cannot be judged"
    if dict(row.workload) != dict(workload):
        return "its requests are not those of the plan, and whole answers cannot be scaled to other ones"
    if batch > 1:
        return f"it was measured {batch} requests at a time, so the seconds of a single one are not known"
    if not sent or not value_of(row.figure(cascade.RATE)):
        return f"none of its {n} requests went on, so the seconds of the large model are not known"
    if _is_far(row):
        return "its large model is a server elsewhere, which bills tokens: bench price RUN --against api"
    if offline:
        return f"the link was down for {offline} of its {n} requests; measure it without an outage"
    edge, cloud = _notes(row, cascade.EDGE), _notes(row, cascade.CLOUD)
    if not all((_number(edge, "seconds"), _number(edge, "usd_per_hour"), _number(cloud, "seconds"))):
        return (
            "run.json is of an earlier version, without the seconds of each side; --hardware computes it anew"
        )
    return None


def _is_far(row: Row) -> bool:
    steps = row.evidence.steps if row.evidence else ()
    return any((step.get("cascade") or {}).get("cloud") for step in steps)


def _option(run: RunSummary, row: Row) -> CascadeOption:
    rate = row.figure(cascade.RATE)
    assert rate is not None, "_not_planned says so otherwise"
    edge, price = _notes(row, cascade.EDGE), kept_price(run.price, run.run_id, _threads(row))
    factor, slower = _as_shown(run, row)
    idle_usd, busy_usd = power_hours(price)
    hour_usd = _number(edge, "usd_per_hour")
    power_usd = min(_number(edge, "power_usd_per_hour"), hour_usd)
    return CascadeOption(
        title=row.title,
        edge=Place(factor * _number(edge, "seconds"), hour_usd - power_usd, busy_hour_usd=power_usd),
        cloud=Place(
            factor * _number(_notes(row, cascade.CLOUD), "seconds"),
            price.hourly_usd + idle_usd / price.devices,
            place_of(price.devices),
            busy_usd,
            rented=run.price["ownership"] == "rented",
        ),
        escalated=rate.interval,
        link_s=(value_of(row.figure(cascade.LINK)) or 0.0) / 1000,
        egress_usd=(value_of(row.figure(cascade.EGRESS)) or 0.0) / rate.value,
        drift=_drift(row),
        slower=slower,
    )


def _as_shown(run: RunSummary, row: Row) -> tuple[float, tuple[float, float] | None]:
    """Return (the factor for the seconds of the row's own pass, the 95 % bounds divided by the estimate).

    If both sides were measured in turns, the table shows the baseline's dollars times the ratio. The factor
    scales the seconds of both places so that a request costs as much here as in the table. Egress is
    subtracted first, because it does not depend on time.
    """
    paid = product(run, row, cost.PER_REQUEST)
    edge, cloud, egress = (
        value_of(row.figure(metric)) or 0.0 for metric in (cascade.EDGE, cascade.CLOUD, cascade.EGRESS)
    )
    if paid is None or not paid.value > egress:
        return 1.0, None
    shown, low, high = paid.value - egress, paid.low, paid.high
    factor = shown / (edge + cloud)
    if low is None or high is None or low <= egress:
        return factor, None
    return factor, ((low - egress) / shown, (high - egress) / shown)


def _drift(row: Row) -> str:
    """Say how many replies equal the baseline's. A cascade has no token probabilities to compare."""
    same = row.figure(generation.EXACT)
    return NOT_SAID if same is None else f"{format_share(same.value)} of replies the same"


def _threads(row: Row) -> int | None:
    return row.facts.threads if row.facts else None


def _notes(row: Row, metric: Any) -> Mapping[str, Any]:
    figure: Figure | None = row.figure(metric)
    return {} if figure is None else figure.notes


def _number(notes: Mapping[str, Any], key: str) -> float:
    """Return a positive number from a figure's notes, or 0.0 for anything else.

    A ``run.json`` may come from anybody, so its notes may hold anything.
    """
    value = notes.get(key)
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else 0.0
