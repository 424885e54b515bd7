"""Keep the journal of a campaign: which pieces there are, where each was begun, and how it ended.

It is a chained journal like that of a run, in a directory of its own beside the runs. A campaign that is
continued skips the pieces that have ended well, by their digest; a piece whose config has changed is another
piece and is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import bench
from bench.errors import BenchError, IntegrityError, UsageError
from bench.formatting import one_line
from bench.measure.clock import utc_now
from bench.results.run_summary import RunStatus
from bench.results.summary import load_run
from bench.runs.directory import new_directory
from bench.scale.pieces import Piece
from bench.store.journal import Journal, read_journal
from bench.store.journal_end import last_digest
from bench.store.replay import journal_of
from bench.store.run_files import CAMPAIGN as FILE
from bench.store.run_lock import run_lock
from bench.store.source import source_digest

LOST, NOT_BEGUN, FAILED = "lost", "not begun", "failed"
JOURNAL_SHA256 = "journal_sha256"


@dataclass(frozen=True)
class Ending:
    """How a piece ended: ``ok``, ``partial`` or ``invalid`` as its run says, ``lost`` with its machine,
    ``failed`` without a run, or ``not begun``."""

    piece: str
    status: str
    run: Path | None = None
    machine: str = ""
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Say whether every row was measured."""
        return self.status == RunStatus.OK


class Campaign:
    """The writing end of a campaign's journal, for one process at a time."""

    def __init__(self, directory: Path, held: ExitStack, journal: Journal) -> None:
        self.directory = directory
        self._held, self._journal = held, journal

    @classmethod
    def create(cls, out: Path, name: str, pieces: Sequence[Piece]) -> Self:
        """Begin a campaign in a new directory below ``out``."""
        directory = new_directory(out, f"campaign-{name}")
        (directory / "logs").rmdir()  # runs have logs, a campaign has runs
        return cls._opened(directory, Journal.create, pieces)

    @classmethod
    def reopen(cls, directory: Path, pieces: Sequence[Piece]) -> Self:
        """Go on with a campaign. Raises UsageError if another process does."""
        return cls._opened(directory, Journal.reopen, pieces)

    @classmethod
    def _opened(
        cls, directory: Path, journal: Callable[[Path, Callable[[], str]], Journal], pieces: Sequence[Piece]
    ) -> Self:
        with ExitStack() as stack:
            stack.enter_context(run_lock(directory))
            opened = journal(directory / FILE, utc_now)
            campaign = cls(directory, stack.pop_all(), opened)
        campaign._started(pieces)
        return campaign

    def _started(self, pieces: Sequence[Piece]) -> None:
        known = [{"name": piece.name, "digest": piece.digest} for piece in pieces]
        harness = {"version": bench.__version__, "source_sha256": source_digest()}
        self._journal.append("campaign_started", {"pieces": known, "harness": harness})
        self._journal.sync()

    def begun(self, piece: Piece, machine: str, attempt: int) -> None:
        """Note that a piece was given to a machine."""
        self._journal.append("piece_begun", {**_about(piece), "machine": machine, "attempt": attempt})
        self._journal.sync()

    def ended(self, piece: Piece, ending: Ending) -> None:
        """Note how a piece ended, and in which run; of a whole one also the end of its journal."""
        run = None if ending.run is None else ending.run.name
        whole = ending.run if ending.complete else None
        known = {} if whole is None else {JOURNAL_SHA256: last_digest(journal_of(whole))}
        rest = {"status": ending.status, "run": run, "machine": ending.machine, "reason": ending.reason}
        self._journal.append("piece_ended", {**_about(piece), **rest, **known})
        self._journal.sync()

    def close(self) -> None:
        """Close the journal, and let another process go on."""
        with self._held:
            self._journal.close()


def _about(piece: Piece) -> dict[str, str]:
    return {"name": piece.name, "digest": piece.digest}


def complete(
    directory: Path, pieces: Sequence[Piece], tell: Callable[[str], None] = lambda _line: None
) -> dict[str, Ending]:
    """Return the pieces that need not be measured again, by digest: the campaign in ``directory`` says that
    they have ended well, and the run is still there, the same one, whole, and of this harness. ``tell`` hears
    of each piece that has ended well and whose run does not count any more, and of a journal with a torn end.
    """
    found: dict[str, Ending | str] = {}
    wanted = {piece.digest for piece in pieces}
    if not (directory / FILE).is_file() or (directory / FILE).is_symlink():
        raise UsageError(f"{directory} holds no campaign (no {FILE}); --resume with --on goes on with one")
    journal = read_journal(directory / FILE)
    for notice in journal.notices:
        tell(one_line(notice))
    for record in journal.records:
        ending, piece = _read(directory.parent, record), record.get("digest")
        if ending is None or not isinstance(piece, str) or piece not in wanted:
            continue
        if isinstance(ending, Ending) or not isinstance(found.get(piece), Ending):
            found[piece] = ending
    for ending in found.values():
        if isinstance(ending, str):
            tell(one_line(ending))
    return {piece: ending for piece, ending in found.items() if isinstance(ending, Ending)}


def _read(out: Path, record: Mapping[str, object]) -> Ending | str | None:
    """Read how a piece ended; None for another record, a sentence for a run that is no longer as it says."""
    name, run = record.get("name"), record.get("run")
    if record["kind"] != "piece_ended" or record.get("status") != RunStatus.OK:
        return None
    if not isinstance(run, str) or Path(run).name != run or run.startswith("."):
        raise IntegrityError(f"a campaign names a run outside its results: {str(run)[:100]!r}")
    try:
        summary = load_run(out / run)
        noted = record.get(JOURNAL_SHA256)  # earlier versions noted none
        if noted is not None and noted != last_digest(journal_of(out / run)):
            return f"{name}: {run} is not the run that was measured for it; it is measured again"
    except BenchError as bad:
        return f"{name}: its run does not count any more ({bad}); it is measured again"
    if summary.status != RunStatus.OK:
        return f"{name}: {run} is {summary.status} now; it is measured again"
    if summary.harness.get("source_sha256") != source_digest():
        return f"{name}: {run} was measured by other code of bench; it is measured again"
    return Ending(str(name), RunStatus.OK, out / run, str(record.get("machine")), "measured before")
