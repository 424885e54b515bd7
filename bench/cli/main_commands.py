"""Define the main commands. Each has only a few lines, and imports heavy modules only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import bench
from bench.cli import gate_options
from bench.cli.idle_options import refuse_idle
from bench.cli.options import (
    WHOLE,
    AsJson,
    Configs,
    On,
    Only,
    Quiet,
    RunDirectory,
    Sets,
    Shard,
    seconds_of,
    shard_of,
)
from bench.cli.output import Verdict
from bench.cli.typer_base import Application, Group
from bench.errors import UsageError
from bench.gate import DEFAULT_CAP

if TYPE_CHECKING:
    from bench.config.spec import Spec

Columns = Annotated[
    str,
    typer.Option(metavar="KEYS", help="for one run: show these columns or figures; +mbu,mfu adds them"),
]

app = Application(
    name="bench",
    cls=Group,
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", help="print the version", is_eager=True)] = False,
) -> None:
    """What an inference optimisation costs, and what it does to the model."""
    if version:
        print(f"inference-cost-bench {bench.__version__}")
        raise typer.Exit


@app.command()
def run(
    configs: Configs,
    overrides: Sets = None,
    only: Only = None,
    out: Annotated[Path, typer.Option(help="where the run's directory is made")] = Path("results"),
    as_json: AsJson = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="continue a run or a campaign that was cut short")
    ] = None,
    on: On = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="such as 30m or 2h: spend it on the widest intervals; with --on, begin no group after it",
        ),
    ] = None,
    shard: Shard = WHOLE,
    quiet: Quiet = False,
) -> None:
    """Measure the baseline and all variants, print a table, and write a directory in results/."""
    from bench.cli import main_actions

    seconds = None if budget is None else seconds_of(budget)
    if on is not None:
        from bench.cli.scale_run import ScaleOptions, run_on

        if as_json:
            raise UsageError("--json prints one run; with --on there is one for each group")
        chosen = tuple(overrides or ()), tuple(only or ())
        asked = ScaleOptions(on, out, *chosen, resume, seconds, shard_of(shard))
        raise Verdict(run_on(configs, asked, quiet=quiet))

    if shard != WHOLE:
        raise UsageError("--shard divides the groups of --on: add --on here")

    specs = [_spec(config, overrides, only) for config in configs]
    raise Verdict(main_actions.run(specs, out, as_json=as_json, resume=resume, quiet=quiet, budget_s=seconds))


@app.command()
def check(configs: Configs, overrides: Sets = None, only: Only = None) -> None:
    """Check configs and print the plan, with an estimate of time and memory.

    This loads no model and measures nothing.
    """
    from bench.cli.check import describe
    from bench.runs.before_measuring import price_to_keep

    for config in configs:
        price_to_keep(spec := _spec(config, overrides, only))
        print(describe(spec))


@app.command()
def compare(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="a directory in results/; with --history, results/ itself"),
    ] = None,
    other: Annotated[Path | None, typer.Argument(metavar="RUN", help="a second run to compare with")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="show where figures changed over all runs in a directory")
    ] = False,
    metric: Annotated[list[str] | None, typer.Option(help="with --history: a figure to show")] = None,
    examples: Annotated[
        int,
        typer.Option(min=0, max=1000, help="show this many replies of each variant that differ most"),
    ] = 0,
    drift: Annotated[bool, typer.Option("--drift", help="show all drift figures of one run")] = False,
    columns: Columns = "",
    as_json: AsJson = False,
) -> None:
    """Compare the variants of a run, two runs, or the history of many runs.

    The table has ratios with intervals, and drift.
    """
    from bench.cli import main_actions
    from bench.cli.compare_options import CompareOptions

    asked = CompareOptions(run, other, history, tuple(metric or ()), examples, drift, columns, as_json)
    main_actions.compare(asked)


@app.command()
def gate(
    config: gate_options.ConfigOrRun,
    base: gate_options.Base = None,
    candidate: gate_options.Candidate = None,
    limits_from: gate_options.LimitsOf = gate_options.LimitsFrom.BASE,
    allow_identical: gate_options.AllowIdentical = False,
    bisect: gate_options.Bisect = None,
    overrides: Sets = None,
    only: Only = None,
    out: Annotated[Path, typer.Option(help="where the gate's directory is made")] = Path("results"),
    cap: gate_options.Cap = DEFAULT_CAP,
    batches: gate_options.Batches = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Judge a config or a run by its limits; the exit code is the verdict.

    PASS exits with 0, FAIL with 1, INCONCLUSIVE with 3; docs/gate.md has the others.
    """
    from bench.cli import gate_actions

    options = gate_actions.GateOptions(
        out, base, cap, batches, tuple(overrides or ()), tuple(only or ()), candidate, limits_from.value,
        allow_identical,
    )  # fmt: skip
    if bisect is not None:
        from bench.cli.bisect import gate_bisect

        given = {"--base": base is not None, "--candidate": candidate is not None, "--json": as_json}
        refuse_idle(given, "--bisect names both commits, and prints every gate")
        if config.is_dir():
            raise UsageError(f"--bisect measures a config in its commits, and {config} is a directory")
        raise Verdict(gate_bisect(config, *bisect, options, quiet=quiet))
    raise Verdict(gate_actions.gate(config, options, as_json=as_json, quiet=quiet))


@app.command()
def calibrate(
    config: Annotated[Path, typer.Argument(help="a YAML config; its baseline is measured against itself")],
    overrides: Sets = None,
    out: Annotated[Path, typer.Option(help="where the calibration's directory is made")] = Path("results"),
    units: Annotated[int, typer.Option(min=6, max=1000, help="pairs of new processes to measure")] = 20,
    batches: gate_options.Batches = None,
    base: gate_options.OtherPython = None,
    commit: gate_options.InCommit = None,
    if_due: gate_options.IfDue = False,
    quiet: Quiet = False,
) -> None:
    """Measure the noise of this machine and the smallest change a gate sees, by an A/A test."""
    from bench.cli import gate_actions

    if base and commit:
        raise UsageError("--base and --commit are two calibrations: ask for one")
    options = gate_actions.CalibrateOptions(out, units, batches, base, commit, overrides or (), if_due)
    gate_actions.calibrate(config, options, quiet=quiet)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="directories in results/")],
    formats: Annotated[
        str, typer.Option("--format", help="html,markdown,csv,... (see `bench list reports`)")
    ] = "markdown",
    output: Annotated[Path | None, typer.Option("-o", help="file or directory; stdout if absent")] = None,
) -> None:
    """Write a report of runs in one or more formats."""
    from bench.cli import main_actions

    main_actions.report(runs, formats.split(","), output)


@app.command()
def export(
    run: RunDirectory,
    variant: Annotated[str, typer.Argument(help="the name of a row")],
    to: Annotated[Path, typer.Argument(metavar="DIR", help="the directory to write; it must not exist")],
    python: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="the interpreter that the run's config names")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="fetch the model that the run names, if it is not on this disk")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a row's optimised model as an ordinary safetensors checkpoint."""
    from bench.cli.gate_run import sayer
    from bench.runs.export import export as write

    print(write(run, variant, to, sayer(quiet=quiet), python, may_fetch=fetch))


@app.command()
def verify(run: RunDirectory) -> None:
    """Recompute the chain, digests and summary of a run, or of a load, from its raw journal."""
    from bench.results.verify import verify_run
    from bench.serving.load_verification import is_load, verify_load

    print(verify_load(run) if is_load(run) else verify_run(run))


def _spec(config: Path, overrides: list[str] | None, only: list[str] | None) -> Spec:
    from bench.config.reader import read_config

    return read_config(config, overrides or (), only or ())
