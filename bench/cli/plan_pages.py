"""What `bench plan` prints: an option on each line, then the APIs, then how the figures are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.cli.api_pages import count_words
from bench.cli.listing import align
from bench.formatting import format_significant
from bench.plan.answer import FORMULA_MONTH, Answer
from bench.plan.fleet import USUAL_LOAD, Latency, Slo, Stream
from bench.plan.options import Planned
from bench.pricing.apis import ApiOffer, list_version


def plan_page(answer: Answer) -> str:
    """Return the whole answer as text."""
    plan, stream = answer.plan, answer.plan.stream
    shape = "a flat day" if stream.peak == 1 else f"the busiest hour {stream.peak:g} times the mean"
    mixed = ("reserved, burst",) if answer.reserves else ()
    heads = (
        "", "on", "req/s a server", "machines", "load", "TTFT p95 ms", "TPOT p95 ms", "$/month",
        "by the hour", *mixed, "$/1M requests", "drift", "a step is bound by",
    )  # fmt: skip
    table = [heads, *(_option_row(row, stream, mixed=bool(mixed)) for row in answer.rows)]
    alike = len({row.option.hardware for row in answer.rows}) == 1
    keep = [
        index
        for index in range(len(heads))
        if index == 0 or (any(row[index] for row in table[1:]) and not (index == 1 and alike))
    ]
    apis = [("at an API", "$/month", "in batches", "$/1M requests"), *_api_rows(answer)]
    return "\n".join(
        (
            plan.title,
            f"{count_words(stream.per_day)} requests a day ({format_significant(stream.per_day / 86_400)} a "
            f"second, {shape}), {stream.input_tokens:,.0f} tokens in and {stream.output_tokens:,.0f} out",
            *plan.prices,
            _good_words(plan.slo),
            "",
            *align([tuple(row[index] for index in keep) for row in table]),
            *_nobody(answer),
            "",
            *align(apis),
            "",
            *_notes(answer),
        )
    )


def _good_words(slo: Slo) -> str:
    if not slo.limits:
        return f"no limit of time (--slo): servers take {USUAL_LOAD:.0%} of the rate at which they saturate"
    limits = [
        f"{name} at most {limit:g} ms"
        for name, limit in (("TTFT", slo.ttft_ms), ("TPOT", slo.tpot_ms))
        if limit is not None
    ]
    return f"a good request: {' and '.join(limits)}; {slo.share:.3g} of all must be good"


def _option_row(row: Planned, stream: Stream, *, mixed: bool) -> tuple[str, ...]:
    option, found, machines = row.option, row.capacity, row.fleet
    hardware = option.hardware
    if machines is None or found.at_rate is None:
        late = found.alone
        times = (f"{late.ttft_p50_ms:,.0f} alone", _ms(late.tpot_p95_ms) + " alone")
        blank = ("-",) if mixed else ()
        return (
            option.title,
            hardware,
            "0",
            "none",
            "-",
            *times,
            "-",
            "-",
            *blank,
            "-",
            option.drift,
            option.bound,
        )
    counts = f"{machines.most}" if machines.most == machines.least else f"{machines.least} to {machines.most}"
    reserved: tuple[str, ...] = ()
    if mixed:
        reserved = (f"{_money(machines.mixed_usd)} ({machines.reserved} reserved)",)
    usd = row.request_usd(stream)
    return (
        option.title, hardware, format_significant(found.rate), counts, f"{machines.load:.0%}",
        *_times(found.at_rate), _money(row.month_usd), _money(machines.scaled_usd), *reserved,
        _money(None if usd is None else 1e6 * usd), option.drift, option.bound,
    )  # fmt: skip


def _times(found: Latency) -> tuple[str, str]:
    return f"{found.ttft_p95_ms:,.0f}", _ms(found.tpot_p95_ms)


def _ms(found: float | None) -> str:
    return "-" if found is None else format_significant(found)


def _money(usd: float | None) -> str:
    if usd is None:
        return "-"
    return f"{usd:,.0f}" if usd >= 1000 else format_significant(usd)


def _nobody(answer: Answer) -> Iterator[str]:
    late = [row for row in answer.rows if row.fleet is None]
    if late:
        names = ", ".join(row.option.title for row in late)
        yield f"no good request: {names}: even one that never waits misses a limit; more machines do not help"


def _api_rows(answer: Answer) -> Iterator[tuple[str, ...]]:
    if not answer.same_weights:
        yield ("the same weights: not sold", "", "", "")
    for title, offers in (("the same weights", answer.same_weights), ("other models", answer.others)):
        if offers:
            yield (title, "", "", "")
        for one in offers:
            month = answer.plan.stream.per_month
            batch = None if one.batch_usd is None else month * one.batch_usd
            yield (
                f"  {one.ref}",
                _money(month * one.request_usd),
                _money(batch),
                _money(1e6 * one.request_usd),
            )


def _notes(answer: Answer) -> Iterator[str]:
    yield f"$/month      {FORMULA_MONTH}; the machines of the busiest hour all month"
    yield "by the hour  each hour of the day pays for the machines that it needs"
    yield (
        "req/s        the highest rate of Poisson arrivals at which enough requests are good, on one server "
        "with continuous batching (simulated)"
    )
    yield f"APIs         {list_version()}, prices of {answer.day}; other models give other answers"
    if answer.token_ratio != 1:
        yield f"tokens       other models are billed for {answer.token_ratio:g} times these tokens"
    yield from answer.plan.notes


def plan_json(answer: Answer) -> dict[str, Any]:
    """Return the same as data."""
    stream = answer.plan.stream
    return {
        "title": answer.plan.title,
        "day": str(answer.day),
        "price_list": list_version(),
        "stream": asdict(stream),
        "slo": asdict(answer.plan.slo),
        "formula_month": FORMULA_MONTH,
        "options": [
            {
                "title": row.option.title,
                "hardware": row.option.hardware,
                "drift": row.option.drift,
                "bound": row.option.bound or None,
                "capacity": asdict(row.capacity),
                "fleet": asdict(row.fleet) if row.fleet else None,
                "month_usd": row.month_usd,
                "request_usd": row.request_usd(stream),
            }
            for row in answer.rows
        ],
        "same_weights": [_offer_json(one) for one in answer.same_weights],
        "other_models": [_offer_json(one) for one in answer.others],
        "notes": list(answer.plan.notes),
    }


def _offer_json(one: ApiOffer) -> dict[str, Any]:
    return {**asdict(one), "since": str(one.since) if one.since else None}
