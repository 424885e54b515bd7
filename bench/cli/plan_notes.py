"""Say how the figures of a plan's page are computed, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterator

from bench.cli.cascade_pages import cascade_notes
from bench.cli.plan_words import bounds, dollars
from bench.formatting import format_share
from bench.plan.fleet import MOST_LOAD
from bench.plan.plan_result import FORMULA_MONTH, Answer
from bench.plan.served import BASELINE
from bench.pricing.apis import list_version


def plan_notes(answer: Answer) -> Iterator[str]:
    """Yield the notes of a plan's page: first those of its columns, last those of its prices and model."""
    yield f"$/month      {FORMULA_MONTH}; the machines of the busiest hour all month"
    if any(bounds(row.month_usd, row.month_bounds_usd) for row in answer.rows):
        yield (
            "[low, high]  the same if each pass takes as long as the 95 % bounds of the run's request time "
            "say; not shown if the number of machines does not change"
        )
    yield from _reserved_notes(answer)
    yield from cascade_notes(answer)
    yield "by the hour  each hour of the day pays for the machines that it needs; not for owned machines"
    yield (
        "takes req/s  the highest rate of random arrivals at which enough requests are good, at most "
        f"{MOST_LOAD:.0%} of what saturates a server (simulated)"
    )
    yield "load         the mean rate, as a share of what the machines take; times are of the busiest hour"
    yield "not in it    spare machines, network, staff; all requests have the mean lengths"
    for row in answer.rows:
        if row.option.passes:
            yield f"passes       {row.option.title}: {row.option.passes}"
    if any(row.option.share < 1 for row in answer.rows):
        yield "servers      those on one machine are assumed not to slow each other: it was not measured"
    yield f"APIs         {list_version()}, prices of {answer.day}; other models give other answers"
    if share := answer.cached_share:
        own = ", as much as a server of the run found in its own" if share == answer.plan.cached_share else ""
        yield f"cached       {format_share(share)} of the input is read from the API's cache{own} (--cached)"
    if (best := answer.cheapest()) is not None:
        theirs = f"; its answers: {best.option.drift}" if not best.option.drift.startswith(BASELINE) else ""
        yield (
            f"cheaper from  the requests a day from which the first server of {best.option.title}, the "
            f"cheapest option, paid all month, costs less{theirs}"
        )
    if answer.token_ratio != 1:
        yield f"tokens       other models are billed for {answer.token_ratio:g} times these tokens"
    yield from answer.plan.notes


def _reserved_notes(answer: Answer) -> Iterator[str]:
    """Yield what is reserved, and for which options that is not cheaper; nothing without a reserved price."""
    if not answer.reserves:
        return
    yield (
        "reserved     so many machines are paid all month at the reserved price, the others in the hours "
        "that need them"
    )
    for row in answer.rows:
        option = row.option
        if option.reserved_usd is None:
            yield f"reserved     nothing for {option.title}: the reserved price is of another machine"
        elif option.reserved_usd >= option.machine_usd:
            yield (
                f"reserved     nothing for {option.title}: {dollars(option.reserved_usd)} USD an hour is not "
                f"less than {dollars(option.machine_usd)} by the hour"
            )
