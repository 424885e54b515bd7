"""Define the command `bench plan`: machines and dollars for a stream of requests, compared with APIs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.cli.edited_results import showing
from bench.cli.main_commands import app
from bench.cli.options import taking
from bench.cli.plan_options import PlanOptions, must_be_one_plan
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.models.registry import ModelFile
    from bench.plan.fleet import Stream
    from bench.plan.options import Option
    from bench.plan.plan_result import Plan
    from bench.pricing.hardware import HardwarePrice
    from bench.results.run_summary import RunSummary

CPU_ERROR = (
    "where it was checked (docs/cost.md), it was 0.87 to 1.09 of a measured step, 0.75 to 1.00 of a prompt"
)


@app.command()
@taking(PlanOptions)
def plan(asked: PlanOptions) -> None:
    """Plan machines and dollars a month for a number of requests, from a run or from a model card.

    The queue of a server is simulated, and the highest rate at which enough requests are good is searched
    for. docs/cost.md derives a row by hand.
    """
    must_be_one_plan(asked)
    _must_be_known(asked)
    if asked.run is None:
        shown = _answer(_of_card(asked), asked)
    else:
        with showing(asked.run):
            shown = _shown(asked)
    print(shown)


def _must_be_known(asked: PlanOptions) -> None:
    """Raise UsageError for a number out of range, and for a price or an API that is not known: all this is
    said before a run is read and a queue simulated."""
    from bench.plan.fleet import Stream
    from bench.plan.reserved import must_be_reserved
    from bench.pricing.apis import must_be_known
    from bench.pricing.book import price_called
    from bench.pricing.mix import TokenMix

    stream = Stream(asked.requests_per_day, asked.input_tokens or 1, asked.output_tokens or 1, asked.peak)
    _ = asked.other_volumes(stream), asked.target, asked.bits, TokenMix(1, 1).scaled(asked.token_ratio)
    for price_id in asked.hardware or ():
        _looked_up("--hardware", price_called, price_id)
    if asked.reserved is not None:
        _looked_up("--reserved", lambda name: must_be_reserved(price_called(name)), asked.reserved)
    for ref in asked.api or ():
        _looked_up("--api", must_be_known, ref)


def _looked_up(option: str, look_up: Callable[[str], object], name: str) -> None:
    """Look up a name, and put its option before the words of an error."""
    try:
        look_up(name)
    except UsageError as bad:
        raise UsageError(f"{option}: {bad}") from None


def _shown(asked: PlanOptions) -> str:
    """Return the plan of a run as text: for replies, or for texts if the run measured encoders."""
    from bench.cli.price_command import priced
    from bench.plan.encoded import is_of_encoders

    assert asked.run is not None
    run = priced(asked.run, next(iter(asked.hardware or ()), None), None, None, None, may_stay=True)
    if is_of_encoders(run):
        from bench.cli.encoder_plan import encoder_plan

        return encoder_plan(run, asked)
    return _answer(_of_run(run, asked), asked)


def _answer(plan: Plan, asked: PlanOptions) -> str:
    from bench.cli.plan_pages import plan_json, plan_page
    from bench.measure.clock import utc_now
    from bench.pricing.book import price_called
    from bench.pricing.hourly_price import cautions, whole_instance
    from bench.pricing.reprice import plain
    from bench.report.formats import ascii_json, harmless

    today = utc_now()[:10]
    if asked.reserved is not None:
        reserved = price_called(asked.reserved)
        said = (*whole_instance(plain(reserved)), *cautions(plain(reserved), today))
        plan = replace(plan, notes=(*said, *plan.notes)).reserving(reserved)
    others = asked.other_volumes(plan.stream)
    day = dt.date.fromisoformat(today)
    answer = plan.answered(tuple(asked.api or ()), asked.cached, asked.token_ratio, day)
    if asked.as_json:
        return ascii_json(plan_json(answer, others), indent=1)
    return plan_page(harmless(answer), others)


def _of_run(run: RunSummary, asked: PlanOptions) -> Plan:
    from bench.cli.main_actions import price_notes
    from bench.cli.price_command import names_of_weights
    from bench.measure.clock import utc_now
    from bench.plan.cascades import cascades_of
    from bench.plan.fleet import Stream
    from bench.plan.measured import measured_options, not_planned
    from bench.plan.plan_result import Plan
    from bench.plan.prompt_cache import share_found
    from bench.plan.served import served_rows
    from bench.pricing.hourly_price import whole_instance

    slo = asked.target
    rows = served_rows(run)
    base = next((row for row in rows if row.is_baseline), rows[0])
    stream = Stream(asked.requests_per_day, base.mix.input_tokens, base.mix.output_tokens, asked.peak)
    price = f"{run.price['name']}, {run.price['date']}"
    title = f"{run.name}: {(run.model or {}).get('name') or 'no model'}, measured in run {run.run_id}"
    options = tuple(measured_options(run))
    notes = (*whole_instance(run.price), *price_notes(run, utc_now()[:10]), *not_planned(run))
    weights = tuple(names_of_weights(run))
    like = next(row.workload for row in run.rows if row.title == base.title)
    routed, why_not = cascades_of(run, like, slo)
    notes += why_not
    found = share_found(run, rows, like)
    return Plan(title, (price,), stream, slo, options, weights, notes, routed, found)


def _of_card(asked: PlanOptions) -> Plan:
    from bench.models.registry import find_model
    from bench.plan.fleet import Stream
    from bench.plan.plan_result import Plan
    from bench.pricing.book import price_called

    assert asked.model is not None
    assert asked.input_tokens is not None
    assert asked.output_tokens is not None
    slo = asked.target
    stream = Stream(asked.requests_per_day, asked.input_tokens, asked.output_tokens, asked.peak)
    card = find_model(asked.model)
    if card.kind == "encoder":
        raise UsageError(f"{card.name} is an encoder, which writes no text: there are no replies to plan for")
    prices = [price_called(price_id) for price_id in dict.fromkeys(asked.hardware or ())]
    return Plan(
        f"{card.name}: estimated from its card",
        tuple(f"{price.name}, {price.date}" for price in prices),
        stream,
        slo,
        tuple(_estimated(asked, card, prices, stream)),
        tuple(filter(None, (card.hub,))),
        tuple(_notes(asked, card, prices)),
    )


def _estimated(
    asked: PlanOptions, card: ModelFile, prices: Sequence[HardwarePrice], stream: Stream
) -> Iterator[Option]:
    """Yield the estimated options of each hardware.

    The title of an option names its hardware if there are several. CPUs are estimated from the ceilings that
    were measured on this machine, GPUs from their data sheets.
    """
    from bench.cli.doctor import available_bytes
    from bench.plan.bytes_and_flop import Loaded
    from bench.plan.devices import device_of, devices
    from bench.plan.options import Estimate, estimated_here, estimated_options

    how = Estimate(asked.bits, asked.bandwidth_share, asked.arithmetic_share)
    model = Loaded(card.architecture, 16)
    several = len(prices) > 1
    for price in prices:
        if price.kind == "cpu":
            options = estimated_here(model, price, float(available_bytes() or 0), stream)
        else:
            options = estimated_options(model, price, device_of(price, devices()), stream, how)
        for option in options:
            yield replace(option, title=f"{option.title} on {price.id}") if several else option


def _notes(asked: PlanOptions, card: ModelFile, prices: Iterable[HardwarePrice]) -> Iterator[str]:
    """Yield notes about how each kind of hardware was estimated, about its prices and about the model."""
    from bench.measure.clock import utc_now
    from bench.pricing.hourly_price import cautions, whole_instance
    from bench.pricing.reprice import plain

    how = {
        "cpu": "estimated, not measured: one request after the other, by the times of the parts of a "
        f"pass that were measured on this machine; {CPU_ERROR}",
        "gpu": "estimated, not measured: a pass takes max(bytes / bandwidth, FLOP / rate), at "
        f"{asked.bandwidth_share:.0%} of the data sheet's bandwidth and {asked.arithmetic_share:.0%} of its "
        "FLOP/s (configs/devices); several devices share a model without loss",
    }
    yield from (how[kind] for kind in dict.fromkeys(price.kind for price in prices))
    for price in prices:
        yield from (*whole_instance(plain(price)), *cautions(plain(price), utc_now()[:10]))
    if card.reasoning:
        yield (
            f"{card.name} thinks before it answers: its tokens out must count what it thinks, and APIs bill "
            "hidden thinking of their models as output too"
        )
