"""Say how the figures of a run beside APIs are computed, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator

from bench.formatting import format_share
from bench.plan.api_comparison import Comparison
from bench.plan.edge_first import FORMULA_EDGE_FIRST
from bench.pricing import apis, break_even


def api_notes(comparison: Comparison) -> Iterator[str]:
    """Yield the notes: of your own machines, of what is left out, and of the APIs."""
    yield from _of_formulas(comparison)
    yield from (f"left out       {reason}" for reason in comparison.not_priced)
    if len(comparison.chosen) < len(comparison.rows):
        yield "other rows     stand beside the APIs with --variant NAME"
    yield from _of_machines(comparison)
    yield from _of_apis(comparison)


def _of_formulas(comparison: Comparison) -> Iterator[str]:
    idle, work = "", "power billed apart"
    if any(row.own.busy_hour_usd for row in comparison.rows):
        idle, work = " and of its idle power", "the power that work adds"
    yield (
        f"your request   {break_even.FORMULA_OWN_REQUEST}: H dollars an hour of the share of a machine{idle},"
    )
    yield f"               u utilisation, S seconds a request, B dollars an hour of {work}"
    yield f"API request    {apis.FORMULA_API}"
    yield f"pays from      {break_even.FORMULA_UTILISATION}; {break_even.FORMULA_VOLUME}"
    if comparison.cascades:
        yield f"cascade        {FORMULA_EDGE_FIRST}; what reaches it is billed as a mean request"


def _of_machines(comparison: Comparison) -> Iterator[str]:
    if any(row.is_server and row.users is None for row in comparison.rows):
        yield (
            "open loads     the requests of such a server came at a given rate, and S is W / N with the time "
            "in which it waited for them: the most that it costs; a closed loop says what it can take"
        )
    shares = ((row.title, row.good) for row in comparison.rows)
    late = [f"{title} {format_share(good)}" for title, good in shares if good is not None and good < 1]
    if late:
        yield f"good requests  the dollars are of all requests; good by the run's limits: {', '.join(late)}"
    servers = max(row.own.servers for row in comparison.rows)
    if servers > 1:
        yield (
            f"servers        {servers} on a machine, by the processors that the run used; whether they slow "
            "each other was not measured"
        )
    if any(row.own.unused_hour_usd for row in comparison.rows):
        yield (
            "rented whole   the servers do not fill a machine: in *pays from*, H is of the whole machine, "
            "divided by its servers; in *your request* it is of the part that the run used"
        )


def _of_apis(comparison: Comparison) -> Iterator[str]:
    if any(not api.same_weights for api in comparison.apis):
        yield "other models   give other answers, and nothing here says whether they are better or worse"
        if comparison.token_ratio == 1:
            yield (
                "tokens         other models have other tokenizers, and count other tokens of the same text; "
                "they are billed here for the run's count (--token-ratio changes it)"
            )
        else:
            times = f"{comparison.token_ratio:g} times"
            yield f"tokens         other models are billed for {times} the run's tokens"
    undated = [api.offer.ref for api in comparison.apis if api.offer.since is None]
    if undated:
        yield f"dates          the list has no first day for {', '.join(undated)}"
    free = [api.offer.ref for api in comparison.apis if not api.offer.request_usd]
    if free:
        names = ", ".join(free)
        yield f"free           {names}: at a price of 0 there is no ratio, and no machine breaks even"
