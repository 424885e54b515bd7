"""Define the commands that measure no run: lists, prices, environments, models, the schema and the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.idle_options import refuse_idle
from bench.cli.main_commands import app
from bench.cli.options import LISTS, AsJson
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.results.index_query import Wanted

RUNS = "runs"
Named = Annotated[
    list[str] | None,
    typer.Argument(help="after `optimisations` or `models`: the name of one; after `runs`: a directory"),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", min=0, max=1_000_000_000, help="runs: how many; 0 for all")
]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=f"{LISTS}, or {RUNS}")] = LISTS,
    name: Named = None,
    model: Annotated[str | None, typer.Option(help="runs: part of a model's name")] = None,
    scheme: Annotated[str | None, typer.Option(help="runs: part of an optimisation of a row")] = None,
    machine: Annotated[str | None, typer.Option(help="runs: part of a processor's or a GPU's name")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="runs: started on this day or later")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="runs: started on this day or before")
    ] = None,
    status: Annotated[str | None, typer.Option(help="runs: ok, not finished, ..., or a verdict")] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="USD", help="runs: with a row of at most this cost for 1,000 tokens"),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="runs: by date (the newest first), cost, ratio, name, model or status")
    ] = "date",
    limit: Limit = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="runs: print CSV instead of a table")] = False,
) -> None:
    """List what there is and whether it can run here, show one optimisation or model, or list runs.

    `bench list runs results/ --scheme bnb-nf4 --sort cost` lists finished runs, from an index beside them.
    """
    from bench.results.index_query import Wanted

    wanted = Wanted(model, scheme, machine, since, until, status, max_cost, sort, limit or 0)
    if what == RUNS:
        _list_runs(name, wanted, limit, as_json=as_json, as_csv=as_csv)
    elif wanted != Wanted() or limit is not None or as_json or as_csv:
        raise UsageError("options are for `bench list runs`: the other lists have none")
    else:
        from bench.cli import list_pages

        print(list_pages.page(what, name) if name else list_pages.render(what.split(",")))


def _list_runs(
    directories: list[str] | None, wanted: Wanted, limit: int | None, *, as_json: bool, as_csv: bool
) -> None:
    from bench.cli import run_pages

    if as_json and as_csv:
        raise UsageError("--json or --csv: choose one")
    directory = _one_directory(directories)
    for text in run_pages.runs(directory, wanted, limit=limit, as_json=as_json, as_csv=as_csv):
        print(text, end="")


def _one_directory(given: list[str] | None) -> Path:
    if given and len(given) > 1:
        raise UsageError("`bench list runs` is for one directory of runs")
    return Path(given[0]) if given else Path("results")


@app.command()
def prices(
    price_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="all about one price")] = None,
    kind: Annotated[str | None, typer.Option(help="cpu or gpu")] = None,
    provider: Annotated[str | None, typer.Option(help="aws, gcp, azure, alibaba, runpod ...")] = None,
    term: Annotated[str | None, typer.Option(help="on_demand, spot or reserved")] = None,
    device: Annotated[str | None, typer.Option(help="words of a GPU or instance: h100, m8g")] = None,
    check: Annotated[bool, typer.Option("--check", help="validate every price file")] = False,
    as_json: AsJson = False,
) -> None:
    """List the dated prices of the book; with an ID, show its source and how an hour is computed."""
    from bench.cli import price_pages
    from bench.measure.clock import utc_now

    today, wanted = utc_now()[:10], price_pages.Wanted(kind, provider, term, device)
    if (check or price_id is not None) and (wanted.anything or (check and (price_id or as_json))):
        raise UsageError("give an ID, or --check, or what to list: not several of them")
    if check:
        print(price_pages.check(today))
    elif price_id is not None:
        print(price_pages.page(price_id, today, as_json=as_json))
    else:
        print(price_pages.listing(wanted, today, as_json=as_json))


@app.command()
def env(
    action: Annotated[str, typer.Argument(metavar="make|list|remove", help="what to do")],
    engine: Annotated[str | None, typer.Argument(help="an engine that `bench env list` shows")] = None,
) -> None:
    """Make, list or remove the environments of engines with packages of their own.

    The packages of these engines conflict with those of bench.
    """
    from bench.cli import list_actions

    if action == "list":
        refuse_idle({"ENGINE": engine is not None}, "all environments are listed")
        list_actions.list_environments()
    elif action == "make" and engine is not None:
        list_actions.make_environment(engine)
    elif action == "remove" and engine is not None:
        list_actions.remove_environment(engine)
    else:
        raise UsageError("write `bench env list`, `bench env make ENGINE` or `bench env remove ENGINE`")


@app.command()
def models(
    fetch: Annotated[list[str] | None, typer.Option(help="fetch these models into the cache")] = None,
    verify: Annotated[bool, typer.Option(help="hash every cached file again and compare")] = False,
) -> None:
    """List the known models, fetch some of them, or verify the cache."""
    from bench.cli import list_actions

    list_actions.models(fetch or [], verify=verify)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    import json

    from bench.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def doctor(
    ceilings: Annotated[
        bool,
        typer.Option("--ceilings", help="measure the best rates of memory and arithmetic here"),
    ] = False,
) -> None:
    """Show machine, versions, devices and noise; say what to install or change."""
    from bench.cli import list_actions

    list_actions.ceilings() if ceilings else list_actions.doctor()
