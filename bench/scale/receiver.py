"""Keep what a machine sends of a run, in the same results directory as every other run."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from bench.errors import BenchError, IntegrityError
from bench.results.run_summary import RunStatus
from bench.results.summary import RUN_JSON, load_run
from bench.runs.directory import LOGS, write_summary
from bench.scale.machines import Chunk
from bench.store.files import naming
from bench.store.replay import JOURNAL, judging

KEPT = re.compile(rf"{re.escape(JOURNAL)}|{re.escape(RUN_JSON)}|spec\.yaml|logs/[\w.+-]{{1,120}}")
ARRIVING = f".{RUN_JSON}.part"  # nobody reads a summary before it is whole
RUN = re.compile(r"[\w.+-]{1,120}")


class Receiver:
    """The directory of one run that is measured somewhere else.

    Its name is the one that the run has there. Only the files of a run are kept, and none is written anywhere
    else, whatever a machine sends.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.directory: Path | None = None

    def take(self, chunk: Chunk) -> None:
        """Write one piece of a file where it belongs. Raises IntegrityError for a piece that does not follow
        what is there."""
        name, place, content = chunk
        run, _, inner = name.partition("/")
        if not RUN.fullmatch(run) or run.startswith(".") or not KEPT.fullmatch(inner) or ".." in name:
            raise IntegrityError(f"a machine sent a file that is none of a run: {name[:100]!r}")
        if self.directory is None:
            self._make(run)
        if self.directory is None or self.directory.name != run:
            raise IntegrityError(f"a machine sent two runs for one piece: {run[:100]!r}")
        file = self.directory / (ARRIVING if inner == RUN_JSON else PurePosixPath(inner))
        if (file.stat().st_size if file.exists() else 0) != place:
            raise IntegrityError(f"{file}: a machine sent a part that does not follow what is there")
        with naming("write", file), file.open("ab") as target:
            target.write(content)

    def _make(self, run: str) -> None:
        directory = self._out / run
        if os.path.lexists(directory):
            raise BenchError(f"{directory} is there already, so no other run is written to it")
        with naming("make", directory):
            directory.mkdir(parents=True, mode=0o700)
            (directory / LOGS).mkdir()
        self.directory = directory

    def finished(self) -> RunStatus | None:
        """Return the status of a run that has arrived whole, None if it ended before its first record.

        Raises IntegrityError if its journal or its summary is not sound.
        """
        directory = self._begun()
        if directory is None:
            return None
        if (directory / ARRIVING).is_file():
            with naming("write", directory / RUN_JSON):
                (directory / ARRIVING).replace(directory / RUN_JSON)
        return load_run(directory).status

    def cut_short(self) -> Path | None:
        """Make a summary of what came before a machine was lost. Return the directory, None if nothing came
        that can be read."""
        directory = self._begun()
        if directory is None:
            return None
        try:
            with judging(directory), naming("write", directory / RUN_JSON):
                (directory / ARRIVING).unlink(missing_ok=True)
                write_summary(directory)
        except BenchError:  # the journal broke off within its first record
            return None
        return directory

    def _begun(self) -> Path | None:
        """Return the directory if a journal has come, None before that."""
        there = self.directory is not None and (self.directory / JOURNAL).is_file()
        return self.directory if there else None
