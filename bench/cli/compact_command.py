"""Define the command `bench compact`, which puts the raw samples of old runs into Parquet, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.main_commands import app
from bench.cli.options import seconds_of
from bench.errors import BenchError, UsageError
from bench.formatting import count, one_line

if TYPE_CHECKING:
    from bench.results.compacting import Packable

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="directories in results/, or results/ itself: all below it"),
]


@app.command()
def compact(
    run: Runs,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="only runs that ended so long ago, such as 30d")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be done, and do nothing")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="write the journals again, byte for byte")] = False,
) -> None:
    """Put the raw samples of finished runs and loads into Parquet files; every command reads these as before.

    The journal of a run becomes two files, and is removed only after it was read back from them, byte for
    byte. A run that is not finished, is in use or is not as it was written is left alone.
    """
    from bench.measure.clock import utc_now
    from bench.results.compacting import compact_run, restore_run

    if undo and (dry_run or older_than is not None):
        raise UsageError("--undo goes with no other option")
    before = None
    if older_than is not None:
        age = timedelta(seconds=seconds_of(older_than, "--older-than"))
        before = datetime.fromisoformat(utc_now()) - age

    def do(each: Path, of: Packable) -> str:
        return restore_run(each, of=of) if undo else compact_run(each, before, only_look=dry_run, of=of)

    _each(run, do)


def _each(named: Sequence[Path], do: Callable[[Path, Packable], str]) -> None:
    """Do something with each run, and print what became of it.

    Raises the gravest error of all at the end. A run below a directory that was named may be left alone; one
    that was named itself may not.
    """
    from bench.results.compacting import RUN, LeftAlone
    from bench.serving.load_verification import LOAD, is_load

    failed: list[BenchError] = []
    for directory, was_named in _runs(named):
        try:
            print(one_line(f"{directory} {do(directory, LOAD if is_load(directory) else RUN)}"), flush=True)
        except LeftAlone as left:
            print(one_line(f"bench: {directory} {left}"), file=sys.stderr)
            failed += [left] if was_named else []
        except BenchError as bad:
            print(one_line(f"bench: {bad}"), file=sys.stderr)
            failed.append(bad)
    if failed:
        gravest = max(failed, key=lambda each: each.exit_code)
        raise type(gravest)(f"{count(len(failed), 'run')} left as before")


def _runs(named: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield each run once, and whether it was named itself."""
    from bench.cli.main_actions import runs_below
    from bench.results.summary import is_run
    from bench.serving.load_verification import is_load

    seen: set[Path] = set()
    for directory in named:
        alone = is_run(directory) or is_load(directory) or not directory.is_dir()
        found = [directory] if alone else runs_below(directory, loads=True)
        if not found:
            raise UsageError(f"there is no run below {directory}")
        for each in found:
            if each not in seen:
                seen.add(each)
                yield each, alone
