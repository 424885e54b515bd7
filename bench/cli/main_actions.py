"""Do what the commands of ``bench/cli/main_commands.py`` ask for, and print the results."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.compare_options import CompareOptions, must_be_one_question
from bench.cli.edited_results import showing
from bench.cli.report_files import write_report
from bench.errors import BenchError, ExitCode, IntegrityError, UsageError
from bench.formatting import did_you_mean, one_line, row_title
from bench.results.run_summary import RunStatus, RunSummary

if TYPE_CHECKING:
    from bench.config.spec import Spec

EXIT_OF_STATUS = {
    RunStatus.OK: ExitCode.OK,
    RunStatus.PARTIAL: ExitCode.FAILED,
    RunStatus.INVALID: ExitCode.FAILED,
}


def run(
    specs: Sequence[Spec],
    out: Path,
    *,
    as_json: bool,
    resume: Path | None,
    quiet: bool,
    budget_s: float | None = None,
) -> ExitCode:
    """Measure each config in turn, and return the worst of their exit codes.

    ``budget_s`` is for all configs together: each may use an equal share of what is left.
    """
    from bench.cli.progress import FetchBar, RunProgress
    from bench.measure.refining import Budget
    from bench.results.durations import earlier_seconds
    from bench.runs.run import run_spec

    if resume is not None and len(specs) > 1:
        raise UsageError("--resume continues one run, so give one config")
    worst, budget = ExitCode.OK, None if budget_s is None else Budget(budget_s)
    for place, spec in enumerate(specs):
        share_s = None if budget is None else budget.left_s() / (len(specs) - place)
        earlier_s = earlier_seconds(out, spec.name)
        with RunProgress(spec, quiet=quiet, earlier_s=earlier_s) as rows, FetchBar(quiet=quiet) as bar:
            directory = run_spec(
                spec, out, resume=resume, budget_s=share_s, tell=rows.tell, on_fetch=bar.update
            )
        measured = load(directory)
        show(measured, as_json=as_json)
        if not as_json:
            shown = one_line(str(directory))
            print(f"\n  {shown}/run.json   (bench report {shown} --format html -o report.html)")
        worst = max(worst, EXIT_OF_STATUS[measured.status])
    return worst


def show(run: RunSummary, *, as_json: bool, columns: str = "") -> None:
    """Print a run as a table or as JSON. Warn on stderr if its price is for other hardware, old or spot."""
    for note in price_notes(run, _judged_on(run)):
        print(f"bench: {one_line(note)}", file=sys.stderr)
    from rich.console import Console

    from bench.report.formats import ascii_json
    from bench.report.table import render

    if as_json:
        print(ascii_json(run.to_json(), indent=1))
        return

    console = Console(emoji=False)  # a row called :smile: is no picture
    if not console.is_terminal:
        console = Console(width=160, emoji=False)
    render(run, console, columns)


def _judged_on(run: RunSummary) -> str:
    """Return the day on which a run's price must not be old: that of the run, or of a newer price, to which
    the run was changed. It is never a day that is still to come."""
    from bench.measure.clock import utc_now

    return min(max(run.started_utc[:10], str(run.price["date"])), utc_now()[:10])


def price_notes(run: RunSummary, day: str) -> Iterator[str]:
    """Yield a caution if a run's price is for other hardware, old on ``day``, spot, or converted."""
    from bench.pricing.hourly_price import cautions
    from bench.pricing.reprice import misfit

    if wrong := misfit(run.price, list(filter(None, map(run.device_of, run.rows)))):
        yield wrong
    yield from cautions(run.price, day)


def load(directory: Path) -> RunSummary:
    """Read a run's summary."""
    from bench.results.summary import load_run

    return load_run(directory)


def compare(asked: CompareOptions) -> None:
    """Print the comparison that the options ask for.

    Raises UsageError if they ask for nothing, or for more than one thing.
    """
    must_be_one_question(asked)
    if asked.history:
        history(asked.run or Path("results"), asked.metrics, as_json=asked.as_json)
    elif asked.run is None:
        raise UsageError("compare what? give a run, two runs, or --history")
    elif asked.examples:
        show_examples(asked.run, asked.examples, as_json=asked.as_json)
    elif asked.drift:
        show_drift(asked.run)
    else:
        show_runs(asked.run, asked.other, as_json=asked.as_json, columns=asked.columns)


def show_runs(one: Path, other: Path | None, *, as_json: bool, columns: str) -> None:
    """Print the table of one run, or the changes between two runs.

    Raises IncomparableError if the two runs must not be compared.
    """
    if other is None:
        with showing(one):
            show(load(one), as_json=as_json, columns=columns)
        return
    if columns:
        raise UsageError("--columns are those of the table of one run")
    from bench.report.formats import ascii_json, harmless
    from bench.results.run_comparison import between_runs, heading, render

    before, after = load(one), load(other)
    with showing(one, other):
        rows = between_runs(before, after)
        if as_json:
            print(ascii_json([asdict(row) for row in rows], indent=1))
        else:
            print(f"{heading(harmless(before), harmless(after))}\n\n{render(harmless(rows))}")


def show_examples(directory: Path, count: int, *, as_json: bool) -> None:
    """Print the replies in which each variant differs most from its baseline, from the run's journal."""
    from bench.report.formats import ascii_json
    from bench.report.side_by_side import render
    from bench.results.examples import examples
    from bench.store.replay import load_record

    record = load_record(directory)
    with showing(directory):
        by_row = [(row_title(arm.group, arm.name), examples(record, arm, count)) for arm in record.arms]
    shown = [(title, of_row) for title, of_row in by_row if of_row]
    if as_json:
        print(ascii_json({title: [each.to_json() for each in of_row] for title, of_row in shown}, indent=1))
    else:
        print(render(shown))


def show_drift(directory: Path) -> None:
    """Print all drift figures of a run, row by row."""
    from bench.report.drift_pages import render
    from bench.report.formats import harmless

    with showing(directory):
        print(render(harmless(load(directory))))


def history(directory: Path, metrics: Sequence[str] | None, *, as_json: bool) -> None:
    """Print where figures changed over the finished runs in a directory."""
    from bench.metrics import all_metrics, cost, latency
    from bench.report.formats import ascii_json, harmless
    from bench.results.history import histories, render

    for key in metrics or ():
        if key not in all_metrics():
            hint = did_you_mean(key, all_metrics(), "see `bench list metrics`")
            raise UsageError(f"no metric called {key[:60]!r} ({hint})")
    readable = _readable(runs_below(directory))
    runs = {run.run_id: run for run in readable if run.gate is None}  # a copied run counts once
    wanted = metrics or [cost.PER_1K.key, latency.TTFT.key, latency.TPOT.key]
    series = histories(runs.values(), wanted)
    if not series:
        raise UsageError(f"{directory}: no finished run in it has {' or '.join(wanted)}")
    print(ascii_json([asdict(each) for each in series], indent=1) if as_json else render(harmless(series)))


def runs_below(directory: Path, *, loads: bool = False) -> list[Path]:
    """Return all directories below that contain a run, with or without its summary; with ``loads`` also those
    of `bench load`.

    Directories that cannot be read are named on standard error.
    """
    from bench.results.index_entry import LOAD_JSON
    from bench.store.directories import walk
    from bench.store.run_files import JOURNALS, RUN_JSON

    def unreadable(bad: OSError) -> None:
        print(f"bench: left out: {one_line(str(bad.filename))}: {bad.strerror}", file=sys.stderr)

    def holds_run(files: list[str]) -> bool:
        if LOAD_JSON in files and RUN_JSON not in files:
            return loads
        return RUN_JSON in files or not set(JOURNALS).isdisjoint(files)

    return sorted(place for place, _, files in walk(directory, unreadable) if holds_run(files))


def _readable(directories: Sequence[Path]) -> Iterator[RunSummary]:
    """Yield the runs that can be read. The others are named on standard error and left out."""
    for directory in directories:
        try:
            yield load(directory)
        except BenchError as bad:
            print(f"bench: left out: {one_line(str(bad))}", file=sys.stderr)


def report(runs: Sequence[Path], formats: Sequence[str], output: Path | None) -> None:
    """Write a report of the runs in each format, or print it if there is only one and no ``output``.

    If a format fails, the others are still written. Raises UsageError for several formats without a
    directory, and the errors of all formats as one error at the end.
    """
    from bench import plugins

    loaded = [load(directory) for directory in runs]
    if len(formats) > 1 and output is None:
        raise UsageError("several formats need a directory: -o DIR")
    failed: list[BenchError] = []
    for module in [plugins.load("report.formats", name.strip()) for name in formats]:
        try:
            with showing(*runs):
                content: bytes | str = module.render(loaded)
            write_report(content, output, len(formats) > 1, f"report.{module.SUFFIX}")
        except BenchError as bad:
            failed.append(bad)
    if failed:
        kind: type[BenchError] = BenchError if len(formats) > 1 else UsageError
        if any(isinstance(bad, IntegrityError) for bad in failed):
            kind = IntegrityError
        raise kind("; ".join(dict.fromkeys(map(str, failed))))
