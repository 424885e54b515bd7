"""The commands that measure nothing: what there is, what is installed, what is cached."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli.app import app
from bench.cli.options import LISTS
from bench.errors import UsageError


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help=LISTS)] = LISTS,
    name: Annotated[
        list[str] | None,
        typer.Argument(help="after `optimisations` or `models`: the name of one"),
    ] = None,
) -> None:
    """List what there is and whether it can run here, or show one optimisation or model."""
    from bench.cli import listing

    print(listing.page(what, name) if name else listing.render(what.split(",")))


@app.command()
def env(
    action: Annotated[str, typer.Argument(metavar="make|list")],
    engine: Annotated[str | None, typer.Argument(help="an engine that `bench env list` shows")] = None,
) -> None:
    """Make or list the environments of engines with packages of their own.

    The packages of these engines conflict with those of bench.
    """
    from bench.cli import commands

    if action == "list":
        commands.list_environments()
    elif action == "make" and engine is not None:
        commands.make_environment(engine)
    else:
        raise UsageError("write `bench env list` or `bench env make ENGINE`")


@app.command()
def models(
    fetch: Annotated[list[str] | None, typer.Option(help="fetch these models into the cache")] = None,
    verify: Annotated[bool, typer.Option(help="hash every cached file again and compare")] = False,
) -> None:
    """List the known models, fetch some of them, or verify the cache."""
    from bench.cli import commands

    commands.models(fetch or [], verify=verify)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the YAML, for editors."""
    import json

    from bench.config.schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def doctor(
    ceilings: Annotated[
        bool, typer.Option("--ceilings", help="measure and keep what memory and arithmetic reach at best")
    ] = False,
) -> None:
    """Show machine, versions, devices and noise; say what to install or change."""
    from bench.cli import commands

    commands.ceilings() if ceilings else commands.doctor()
