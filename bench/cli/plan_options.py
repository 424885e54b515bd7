"""Define the options of `bench plan`, and check which of them can be combined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AsJson, limits_of
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.plan.fleet import Slo, Stream

LIMITS = ("ttft", "tpot")
PRECISIONS = "16,8,4"
BANDWIDTH_SHARE, ARITHMETIC_SHARE = 0.65, 0.5  # shares of a data sheet's figures that an engine reaches


@dataclass(frozen=True)
class PlanOptions:
    """The options and arguments of the command line, unchanged."""

    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="a measured run in results/")] = None
    requests_per_day: Annotated[
        float, typer.Option("--requests-per-day", help="how many requests come in a day")
    ] = 0.0
    volumes: Annotated[
        str,
        typer.Option(metavar="1e5,1e6", help="also show the machines for these numbers of requests a day"),
    ] = ""
    peak: Annotated[float, typer.Option(help="busiest hour divided by the mean hour, from 1 to 2")] = 1.0
    slo: Annotated[
        str, typer.Option(help="limits of a good request in ms, such as ttft:500,tpot:50; none if absent")
    ] = ""
    good: Annotated[float, typer.Option(help="share of requests that must be good")] = 0.99
    model: Annotated[
        str | None, typer.Option(help="instead of a run: a model card; the times are estimated, not measured")
    ] = None
    hardware: Annotated[
        list[str] | None,
        typer.Option(help="ids in configs/prices: another price of the run's hardware, or what to estimate"),
    ] = None
    input_tokens: Annotated[float | None, typer.Option(help="with --model: mean tokens of a prompt")] = None
    output_tokens: Annotated[float | None, typer.Option(help="with --model: mean tokens of a reply")] = None
    precision: Annotated[str, typer.Option(help="with --model: bits of a weight")] = PRECISIONS
    bandwidth_share: Annotated[
        float, typer.Option(help="with --model: share of the data sheet's bandwidth that is reached")
    ] = BANDWIDTH_SHARE
    arithmetic_share: Annotated[
        float, typer.Option(help="with --model: share of the data sheet's FLOP/s that is reached")
    ] = ARITHMETIC_SHARE
    reserved: Annotated[
        str | None, typer.Option(metavar="ID", help="a price of reserved machines, paid all month")
    ] = None
    api: Annotated[
        list[str] | None, typer.Option(metavar="PROVIDER/MODEL", help="APIs to compare it with")
    ] = None
    cached: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="share of the input that an API's prompt cache serves; if absent, as a server of the run",
        ),
    ] = None
    token_ratio: Annotated[
        float, typer.Option(help="how many tokens the API counts for one token of this model")
    ] = 1.0
    as_json: AsJson = False

    @property
    def target(self) -> Slo:
        """Return when a request is good. Raises UsageError for an invalid ``--slo`` or ``--good``."""
        from bench.plan.fleet import Slo

        limits = limits_of(self.slo, LIMITS)
        return Slo(limits.get("ttft"), limits.get("tpot"), self.good)

    @property
    def bits(self) -> tuple[float, ...]:
        """Return the weight precisions of ``--precision``. Raises UsageError for others than 16, 8 and 4."""
        from bench.plan.options import BITS

        precisions = []
        for part in self.precision.split(","):
            try:
                bits = float(part)
            except ValueError:
                bits = 0.0
            if bits not in BITS or bits > 16:
                raise UsageError(f"--precision: {part!r} is not one of 16, 8, 4")
            precisions.append(bits)
        return tuple(precisions)

    def other_volumes(self, stream: Stream) -> tuple[float, ...]:
        """Return the requests per day of ``--volumes``. Raises UsageError for an invalid number."""
        volumes = []
        for part in self.volumes.split(",") if self.volumes else ():
            try:
                volumes.append(replace(stream, per_day=float(part)).per_day)
            except ValueError:
                raise UsageError(f"--volumes: {part!r:.40} is no number of requests a day") from None
        return tuple(volumes)


def must_be_one_plan(asked: PlanOptions) -> None:
    """Raise UsageError unless the options name either a run or a model card and fit that choice."""
    if asked.run is None and asked.model is None:
        raise UsageError("plan what? give a measured run, or --model with a card")
    if asked.run is not None and asked.model is not None:
        raise UsageError("a run and --model are two plans: ask for one")
    if not asked.requests_per_day > 0:
        raise UsageError("how many requests? give --requests-per-day, above 0")
    tokens = (asked.input_tokens, asked.output_tokens)
    if asked.run is None:
        if None in tokens:
            raise UsageError("an estimate needs --input-tokens and --output-tokens")
        if not asked.hardware:
            raise UsageError("an estimate needs --hardware; `bench list prices` shows the ids")
        return
    if tokens != (None, None):
        raise UsageError("--input-tokens and --output-tokens go with --model: a run has its own")
    estimated = (asked.precision, asked.bandwidth_share, asked.arithmetic_share)
    if estimated != (PRECISIONS, BANDWIDTH_SHARE, ARITHMETIC_SHARE):
        raise UsageError("--precision, --bandwidth-share and --arithmetic-share go with --model")
    if len(asked.hardware or ()) > 1:
        raise UsageError(
            "a run was measured on one kind of hardware: give one --hardware, another price of it"
        )
