"""Print a plan for `bench plan`: a line for each option, then the APIs, then how the figures are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from bench.cli.api_pages import count_words
from bench.cli.cascade_pages import cascade_json, cascade_row, paid_rows
from bench.cli.plan_notes import plan_notes
from bench.cli.plan_words import bounds, dollars, ms, none_of_the_same
from bench.cli.tables import align
from bench.formatting import format_significant
from bench.plan.cascade_fleet import PlannedCascade
from bench.plan.fleet import Latency, Slo, Stream
from bench.plan.option_cost import Planned
from bench.plan.options import Option
from bench.plan.plan_result import FORMULA_MONTH, Answer
from bench.pricing.apis import ApiOffer, list_version
from bench.pricing.break_even import servers_of


def plan_page(answer: Answer, volumes: Sequence[float] = ()) -> str:
    """Return the whole answer as text, with each option also at other ``volumes`` (requests per day)."""
    plan, stream = answer.plan, answer.plan.stream
    shape = "a flat day" if stream.peak == 1 else f"the busiest hour {stream.peak:g} times the mean"
    month = "$/month, reserved and burst" if answer.reserves else "$/month"
    heads = (
        "", "one server is", "takes req/s", "machines", "load", "TTFT p95 ms", "TPOT p95 ms", month,
        "by the hour", "$/1M requests", "drift", "a step is bound by",
    )  # fmt: skip
    table = [
        heads,
        *(_option_row(row, stream) for row in answer.rows),
        *(cascade_row(row, stream) for row in answer.cascades),
    ]
    keep = [index for index in range(len(heads)) if index == 0 or any(row[index] for row in table[1:])]
    apis = [("at an API", "$/month", "in batches", "$/1M requests", _pays_title(answer)), *_api_rows(answer)]
    return "\n".join(
        (
            plan.title,
            f"{count_words(stream.per_day)} requests a day ({format_significant(stream.per_day / 86_400)} a "
            f"second, {shape}), {stream.input_tokens:,.0f} tokens in and {stream.output_tokens:,.0f} out",
            *plan.prices,
            _good_words(plan.slo),
            "",
            *align([tuple(row[index] for index in keep) for row in table]),
            *_never_good(answer),
            *paid_rows(answer),
            *_volume_rows(answer, volumes),
            "",
            *align(apis),
            "",
            *plan_notes(answer),
        )
    )


def _good_words(slo: Slo) -> str:
    if not slo.limits:
        return "no limit of time (--slo)"
    limits = [
        f"{name} at most {limit:g} ms"
        for name, limit in (("TTFT", slo.ttft_ms), ("TPOT", slo.tpot_ms))
        if limit is not None
    ]
    return f"a good request: {' and '.join(limits)}; {slo.share:.3g} of all must be good"


def _option_row(row: Planned, stream: Stream) -> tuple[str, ...]:
    option, capacity, machines = row.option, row.capacity, row.fleet
    server = _server_words(option)
    if machines is None or row.busiest is None:
        late = capacity.alone
        times = (f"{late.ttft_p50_ms:,.0f} alone", ms(late.tpot_p95_ms) + " alone")
        return (option.title, server, "0", "none", "-", *times, "-", "-", "-", option.drift, option.bound)
    counts = f"{machines.most}" if machines.most == machines.least else f"{machines.least} to {machines.most}"
    kept = "" if machines.reserved is None else f" ({machines.reserved} reserved)"
    usd = row.request_usd(stream)
    month = f"{dollars(row.month_usd)}{bounds(row.month_usd, row.month_bounds_usd)}"
    return (
        option.title, server, format_significant(capacity.rate), counts, _load(machines.load),
        *_times(row.busiest), f"{month}{kept}", dollars(row.scaled_usd),
        dollars(None if usd is None else 1e6 * usd), option.drift, option.bound,
    )  # fmt: skip


def _load(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _server_words(option: Option) -> str:
    """Return what one server consists of: its devices, or a part of a machine."""
    if option.hardware:
        return option.hardware
    if option.share > 1:
        return f"{option.share:g} machines"
    servers = servers_of(option.share)
    return "1 machine" if servers == 1 else f"1/{servers} machine"


def _times(latency: Latency) -> tuple[str, str]:
    return f"{latency.ttft_p95_ms:,.0f}", ms(latency.tpot_p95_ms)


def _volume_rows(answer: Answer, volumes: Sequence[float]) -> Iterator[str]:
    """Yield a table of (machines, dollars per million requests) of each option for other volumes."""
    if not volumes:
        return
    heads = ("machines, $/1M requests", *(f"{count_words(per_day)} a day" for per_day in volumes))
    table = [heads, *((row.option.title, *_at_volumes(answer, row, volumes)) for row in answer.every)]
    yield from ("", *align(table))


def _at_volumes(answer: Answer, row: Planned | PlannedCascade, volumes: Sequence[float]) -> Iterator[str]:
    for per_day in volumes:
        stream = replace(answer.plan.stream, per_day=per_day)
        planned = answer.at(row, per_day)
        yield "-" if planned is None else f"{planned[0]}, {dollars(1e6 * planned[1] / stream.per_month)}"


def _never_good(answer: Answer) -> Iterator[str]:
    late = [row for row in answer.every if row.month_usd is None]
    if late:
        names = ", ".join(row.option.title for row in late)
        yield f"no good request: {names}: even one that never waits misses a limit; more machines do not help"


def _api_rows(answer: Answer) -> Iterator[tuple[str, ...]]:
    if not answer.same_weights:
        yield (none_of_the_same(answer.plan.weights), "", "", "", "")
    for title, offers in (("the same weights", answer.same_weights), ("other models", answer.others)):
        if offers:
            yield (title, "", "", "", "")
        for offer in offers:
            month = answer.plan.stream.per_month
            batch = None if offer.batch_usd is None else month * offer.batch_usd
            yield (
                f"  {offer.ref}",
                dollars(month * offer.request_usd),
                dollars(batch),
                dollars(1e6 * offer.request_usd),
                _pays_words(answer, offer),
            )


def _pays_title(answer: Answer) -> str:
    """Return the heading of the break-even column; it is empty if no option answers in time."""
    best = answer.cheapest()
    return f"{best.option.title} is cheaper from" if best else ""


def _pays_words(answer: Answer, offer: ApiOffer) -> str:
    """Say from how many requests per day the cheapest option costs less than an API."""
    best = answer.cheapest()
    if best is None:
        return ""
    volume = answer.pays_from(best, offer.request_usd)
    return "never" if volume is None else f"{count_words(volume)} a day"


def plan_json(answer: Answer, volumes: Sequence[float] = ()) -> dict[str, Any]:
    """Return the whole answer as data for JSON."""
    stream = answer.plan.stream
    return {
        "title": answer.plan.title,
        "day": str(answer.day),
        "price_list": list_version(),
        "prices": list(answer.plan.prices),
        "stream": asdict(stream),
        "slo": asdict(answer.plan.slo),
        "cached_share": answer.cached_share,
        "formula_month": FORMULA_MONTH,
        "options": [_option_json(answer, row, volumes) for row in answer.rows],
        "cascades": [
            {**cascade_json(row, stream), "at_volumes": [_volume_json(answer, row, each) for each in volumes]}
            for row in answer.cascades
        ],
        "same_weights": [_offer_json(answer, offer) for offer in answer.same_weights],
        "other_models": [_offer_json(answer, offer) for offer in answer.others],
        "notes": list(answer.plan.notes),
    }


def _option_json(answer: Answer, row: Planned, volumes: Sequence[float]) -> dict[str, Any]:
    stream = answer.plan.stream
    return {
        "title": row.option.title,
        "hardware": row.option.hardware,
        "drift": row.option.drift,
        "bound": row.option.bound or None,
        "passes": row.option.passes or None,
        "capacity": asdict(row.capacity),
        "fleet": asdict(row.fleet) if row.fleet else None,
        "server_share": row.option.share,
        "machine_usd_per_hour": row.option.machine_usd,
        "reserved_usd_per_hour": row.option.reserved_usd,
        "busiest_hour": asdict(row.busiest) if row.busiest else None,
        "month_usd": row.month_usd,
        "month_bounds_usd": row.month_bounds_usd,
        "by_the_hour_usd": row.scaled_usd,
        "request_usd": row.request_usd(stream),
        "at_volumes": [_volume_json(answer, row, per_day) for per_day in volumes],
    }


def _volume_json(answer: Answer, row: Planned | PlannedCascade, per_day: float) -> dict[str, float | None]:
    machines, month_usd = answer.at(row, per_day) or (None, None)
    return {"requests_per_day": per_day, "machines": machines, "month_usd": month_usd}


def _offer_json(answer: Answer, offer: ApiOffer) -> dict[str, Any]:
    volumes = {row.option.title: answer.pays_from(row, offer.request_usd) for row in answer.every}
    since = str(offer.since) if offer.since else None
    return {**asdict(offer), "since": since, "cheaper_from_per_day": volumes}
