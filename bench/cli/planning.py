"""The command `bench plan`: machines and dollars for a stream of requests, beside the prices of APIs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import app
from bench.cli.options import AsJson, limits_of
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.plan.answer import Plan
    from bench.plan.fleet import Slo, Stream
    from bench.plan.options import Option

LIMITS = ("ttft", "tpot")
CPU_ERROR = (
    "where it was checked (docs/cost.md), it was 0.75 to 1.08 of a measured step, 0.76 to 0.97 of a prompt"
)
BANDWIDTH_SHARE, ARITHMETIC_SHARE = 0.65, 0.5  # of a data sheet, as an engine reaches them


@app.command()
def plan(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="a measured run in results/")] = None,
    requests_per_day: Annotated[
        float, typer.Option("--requests-per-day", help="how many requests come in a day")
    ] = 0.0,
    volumes: Annotated[
        str,
        typer.Option(metavar="1e5,1e6", help="also show the machines for these numbers of requests a day"),
    ] = "",
    peak: Annotated[float, typer.Option(help="busiest hour divided by the mean hour, from 1 to 2")] = 1.0,
    slo: Annotated[
        str, typer.Option(help="limits of a good request in ms, such as ttft:500,tpot:50; none if absent")
    ] = "",
    good: Annotated[float, typer.Option(help="share of requests that must be good")] = 0.99,
    model: Annotated[
        str | None, typer.Option(help="instead of a run: a model card; the times are estimated, not measured")
    ] = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(help="ids in configs/prices: another price of the run's hardware, or what to estimate"),
    ] = None,
    input_tokens: Annotated[float | None, typer.Option(help="with --model: mean tokens of a prompt")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="with --model: mean tokens of a reply")] = None,
    precision: Annotated[str, typer.Option(help="with --model: bits of a weight")] = "16,8,4",
    bandwidth_share: Annotated[
        float, typer.Option(help="with --model: share of the data sheet's bandwidth that is reached")
    ] = BANDWIDTH_SHARE,
    arithmetic_share: Annotated[
        float, typer.Option(help="with --model: share of the data sheet's FLOP/s that is reached")
    ] = ARITHMETIC_SHARE,
    reserved: Annotated[
        str | None, typer.Option(metavar="ID", help="a price of reserved machines, paid all month")
    ] = None,
    api: Annotated[
        list[str] | None, typer.Option(metavar="PROVIDER/MODEL", help="APIs to show beside it")
    ] = None,
    cached: Annotated[
        float, typer.Option(min=0, max=1, help="share of the input that an API's prompt cache serves")
    ] = 0.0,
    token_ratio: Annotated[
        float, typer.Option(help="how many tokens the API counts for one token of this model")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Plan machines and dollars a month for a number of requests, from a run or from a model card.

    The queue of a server is simulated, and the highest rate at which enough requests are good is searched
    for. docs/cost.md derives a row by hand.
    """
    from bench.cli.plan_pages import plan_json, plan_page
    from bench.measure.clock import utc_now
    from bench.plan.fleet import Slo, Stream
    from bench.pricing.book import price_called
    from bench.report.formats import ascii_json, harmless

    if run is None and model is None:
        raise UsageError("plan what? give a measured run, or --model with a card")
    if run is not None and model is not None:
        raise UsageError("a run and --model are two plans: ask for one")
    limits = limits_of(slo, LIMITS)
    target = Slo(limits.get("ttft"), limits.get("tpot"), good)
    if not requests_per_day > 0:
        raise UsageError("how many requests? give --requests-per-day, above 0")
    if run is not None:
        if input_tokens is not None or output_tokens is not None:
            raise UsageError("--input-tokens and --output-tokens go with --model: a run has its own")
        if (precision, bandwidth_share, arithmetic_share) != ("16,8,4", BANDWIDTH_SHARE, ARITHMETIC_SHARE):
            raise UsageError("--precision, --bandwidth-share and --arithmetic-share go with --model")
        found = _of_run(run, hardware or [], requests_per_day, peak, target)
    else:
        assert model is not None
        if input_tokens is None or output_tokens is None:
            raise UsageError("an estimate needs --input-tokens and --output-tokens")
        if not hardware:
            raise UsageError("an estimate needs --hardware; `bench list prices` shows the ids")
        stream = Stream(requests_per_day, input_tokens, output_tokens, peak)
        shares = (bandwidth_share, arithmetic_share)
        found = _of_card(model, hardware, stream, target, precision, shares)
    if reserved is not None:
        hour_usd = price_called(reserved).hourly_usd
        found = replace(found, options=tuple(replace(one, reserved_usd=hour_usd) for one in found.options))
    others = _volumes(volumes, found.stream)
    today = dt.date.fromisoformat(utc_now()[:10])
    answer = found.answered(tuple(api or ()), cached, token_ratio, today)
    print(ascii_json(plan_json(answer, others), indent=1) if as_json else plan_page(harmless(answer), others))


def _of_run(directory: Path, hardware: list[str], per_day: float, peak: float, slo: Slo) -> Plan:
    from bench.cli.commands import price_notes
    from bench.cli.price_commands import names_of_weights, priced
    from bench.measure.clock import utc_now
    from bench.plan.answer import Plan
    from bench.plan.fleet import Stream
    from bench.plan.options import MOST_SIMULATED, measured_options, not_simulated
    from bench.plan.served import served_rows

    if len(hardware) > 1:
        raise UsageError(
            "a run was measured on one kind of hardware: give one --hardware, another price of it"
        )
    run = priced(directory, hardware[0] if hardware else None, None, None, None, may_stay=True)
    rows = served_rows(run)
    base = next((row for row in rows if row.is_baseline), rows[0])
    stream = Stream(per_day, base.mix.input_tokens, base.mix.output_tokens, peak)
    price = f"{run.price['name']}, {run.price['date']}"
    title = f"{run.name}: {(run.model or {}).get('name') or 'no model'}, measured in run {run.run_id}"
    notes = tuple(price_notes(run, utc_now()[:10]))
    if dear := not_simulated(run):
        notes += (
            f"only the {MOST_SIMULATED} rows with the cheapest requests are simulated, not {dear} others",
        )
    weights = tuple(names_of_weights(run))
    return Plan(title, (price,), stream, slo, tuple(measured_options(run)), weights, notes)


def _of_card(
    name: str, hardware: list[str], stream: Stream, slo: Slo, precision: str, shares: tuple[float, float]
) -> Plan:
    from bench.cli.doctor import available_bytes
    from bench.cli.estimate import LAYER_S
    from bench.measure.clock import utc_now
    from bench.models.registry import find_model
    from bench.plan.answer import Plan
    from bench.plan.devices import device_of, devices
    from bench.plan.options import Estimate, estimated_here, estimated_options
    from bench.plan.roofline import Loaded
    from bench.pricing.book import price_called
    from bench.pricing.hour import cautions
    from bench.pricing.reprice import plain

    card = find_model(name)
    if card.kind == "encoder":
        raise UsageError(f"{name} is an encoder, which writes no text: there are no replies to plan for")
    how, model = Estimate(_bits(precision), *shares), Loaded(card.architecture, 16)
    prices = [price_called(price_id) for price_id in hardware]
    options: list[Option] = []
    notes = {
        "cpu": "estimated, not measured: one request after the other, at the ceilings measured on this "
        f"machine and {1e3 * LAYER_S:g} ms for each layer and pass; {CPU_ERROR}",
        "gpu": "estimated, not measured: a pass takes max(bytes / bandwidth, FLOP / rate), at "
        f"{shares[0]:.0%} of the data sheet's bandwidth and {shares[1]:.0%} of its FLOP/s (configs/devices); "
        "several devices share a model without loss",
    }
    for price in prices:
        if price.kind == "cpu":
            options += estimated_here(model, price, float(available_bytes() or 0), stream, LAYER_S)
        else:
            options += estimated_options(model, price, device_of(price, devices()), stream, how)
    words = tuple(f"{price.name}, {price.date}" for price in prices)
    warned = [note for price in prices for note in cautions(plain(price), utc_now()[:10])]
    if card.reasoning:
        warned.append(
            f"{name} thinks before it answers: its tokens out must count what it thinks, and APIs bill "
            "hidden thinking of their models as output too"
        )
    kinds = dict.fromkeys(price.kind for price in prices)
    weights = tuple(filter(None, (card.hub,)))
    title = f"{name}: estimated from its card"
    return Plan(
        title, words, stream, slo, tuple(options), weights, (*(notes[kind] for kind in kinds), *warned)
    )


def _volumes(said: str, stream: Stream) -> tuple[float, ...]:
    """Read ``--volumes``. Raises UsageError for what is no number of requests a day."""
    found = []
    for part in said.split(",") if said else ():
        try:
            found.append(replace(stream, per_day=float(part)).per_day)
        except ValueError:
            raise UsageError(f"--volumes: {part!r:.40} is no number of requests a day") from None
    return tuple(found)


def _bits(precision: str) -> tuple[float, ...]:
    from bench.plan.options import BITS

    found = []
    for part in precision.split(","):
        try:
            bits = float(part)
        except ValueError:
            bits = 0.0
        if bits not in BITS or bits > 16:
            raise UsageError(f"--precision: {part!r} is not one of 16, 8, 4")
        found.append(bits)
    return tuple(found)
