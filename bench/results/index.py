"""Keep an index of the runs in a directory, so that lists and re-pricing need not read every run again.

The index is only a cache: it can be made from the journals at any time. A directory is read again if its
change time differs from the one in the index. If no change time differs, the digest of all of them says so,
and they are not compared one by one. Before a run is returned, the state of its files (``files_of``)
is compared as well. The same happens for every run that is not finished, because its files may grow while the
directory does not change.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UsageError
from bench.formatting import MIB
from bench.results.index_listing import begin_listing, listing_of
from bench.results.index_query import Wanted
from bench.results.index_records import IndexedRow, IndexedRun, files_of
from bench.results.index_schema import (
    CHANGED,
    DELETE_ROWS,
    DELETE_RUN,
    FORGET_LISTING,
    INSERT_LISTING,
    INSERT_PRICE,
    INSERT_ROW,
    INSERT_RUN,
    KNOWN,
    LISTED,
    OPEN,
    ROWS,
    RUN_COLUMNS,
    SCHEMA,
    STATE_COLUMNS,
    indexed_row,
)  # fmt: skip
from bench.store.index_file import INDEX, empty_database, read_database, write_database

ReadMany = Callable[[Sequence[bytes]], Iterable[IndexedRun]]
Kind = TypeVar("Kind")
AT_ONCE = 10_000  # directories that are read before the index is saved
AT_A_TIME = 1000  # runs that are in the memory together, where each is looked at once
MANY_BYTES = 8 * MIB  # of an index: of 12,000 runs or more


def _has_many(out: Path) -> bool:
    """Return whether the index is large, and there is a processor for another process."""
    try:
        return (out / INDEX).stat().st_size >= MANY_BYTES and len(os.sched_getaffinity(0)) > 1
    except OSError:
        return False


def one_by_one(directories: Sequence[bytes]) -> Iterator[IndexedRun]:
    """Read directories in this process."""
    from bench.results.index_entry import read_run

    return map(read_run, directories)


class Index:
    """The index of the runs in one directory.

    ``read_many`` reads directories, in as many processes as it likes. Raises UsageError if ``out`` is not a
    directory.
    """

    def __init__(self, out: Path, read_many: ReadMany = one_by_one) -> None:
        if not out.is_dir():
            raise UsageError(f"{out} is not a directory of runs")
        self._out, self._root, self._read_many = out, os.fsencode(out), read_many
        self._listing = cache(begin_listing(out) if _has_many(out) else partial(listing_of, out))
        self._database = read_database(out, SCHEMA)
        self._changed = False
        self._or_rebuild(self._refresh)

    def runs(self, wanted: Wanted) -> list[IndexedRun]:
        """Return the runs that match ``wanted``, with their rows, in its order and at most as many."""
        return self._or_rebuild(lambda: self._whole(self._sound(*wanted.query(RUN_COLUMNS))))

    def each(self, wanted: Wanted) -> Iterator[IndexedRun]:
        """Yield the runs that ``runs`` would return, of which only some are in the memory at a time. One that
        is deleted meanwhile is left out."""
        light = wanted.query(STATE_COLUMNS)
        places = self._or_rebuild(lambda: [run[1] for run in self._sound(*light)])
        for begin in range(0, len(places), AT_A_TIME):
            yield from self._or_rebuild(partial(self._at, places[begin : begin + AT_A_TIME]))

    def count(self, wanted: Wanted) -> int:
        """Return how many runs match ``wanted``, without its limit."""
        query, values = wanted.count()
        return int(self._or_rebuild(lambda: self._ask(query, values)[0][0]))

    def _or_rebuild(self, act: Callable[[], Kind]) -> Kind:
        """Do ``act`` on the index. If the index is not valid, read all runs again and repeat ``act``.

        An index is not valid if some other program wrote its file.
        """
        try:
            return act()
        except (sqlite3.Error, ArithmeticError, TypeError, ValueError):
            self._database.close()
            self._database = empty_database(SCHEMA)
            self._refresh()
            return act()

    def _sound(self, query: str, values: Sequence[object]) -> list[Any]:
        """Return what a query says of runs, once each of them is as its files are now."""
        checked: set[bytes] = set()
        while True:
            runs = self._ask(query, values)
            unchecked = [(run[1], run[3]) for run in runs if run[1] not in checked]
            checked.update(place for place, _files in unchecked)
            if not self._read(self._in_another_state(unchecked)):
                self._keep()
                return runs

    def _at(self, places: Sequence[bytes]) -> list[IndexedRun]:
        """Return the runs in these directories, in their order."""
        marks = ", ".join("?" * len(places))
        found = self._ask(f"SELECT {RUN_COLUMNS} FROM runs WHERE place IN ({marks})", places)
        by_place = {run[1]: run for run in found}
        return self._whole([by_place[place] for place in places if place in by_place])

    def _whole(self, runs: Sequence[Any]) -> list[IndexedRun]:
        """Return runs, of which the columns are given, with their rows."""
        if any(run[-1] is None for run in runs):
            raise ValueError("a run without its price")
        rows = self._rows_of([run[0] for run in runs])
        return [replace(IndexedRun(*run[1:]), rows=tuple(rows.get(run[0], ()))) for run in runs]

    def _refresh(self) -> None:
        """Read the directories that are new or have changed, and delete those that are gone."""
        listed, unfinished = self._ask(LISTED), self._in_another_state(self._ask(OPEN))
        listing, stale = self._listing(), {}  # it was made meanwhile
        is_another = listed != [(listing.digest,)]
        if is_another:
            known: dict[bytes, int] = dict(self._database.execute(KNOWN))
            stale = listing.differing(known)
            with self._transaction():
                self._delete(known)  # these directories no longer exist
            unfinished = [place for place in unfinished if place not in stale and place not in known]
        self._read([*stale, *unfinished])
        if is_another and all(self._ask(CHANGED, (place,)) == [(ns,)] for place, ns in stale.items()):
            self._database.execute(FORGET_LISTING)
            self._database.execute(INSERT_LISTING, (listing.digest,))
            self._changed = True
        self._keep()

    def _in_another_state(self, known: Iterable[tuple[bytes, str]]) -> list[bytes]:
        """Return the directories whose files have changed since they were read into the index."""
        return [place for place, files in known if files_of(self._path(place)) != files]

    def _path(self, place: bytes) -> bytes:
        return b"/".join((self._root, place))

    # ---- the database --------------------------------------------------------------------------------

    def _ask(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("COMMIT")  # also after a failure: the next call reads what is missing

    def _read(self, places: Sequence[bytes]) -> bool:
        """Read these directories into the index. Return whether there were any.

        The index is saved from time to time, so that an interrupted reading can continue where it stopped.
        """
        for begin in range(0, len(places), AT_ONCE):
            self._keep()
            some = places[begin : begin + AT_ONCE]
            with self._transaction():
                self._delete(some)
                for run in self._read_many([self._path(place) for place in some]):
                    self._put(run)
            self._changed = True
        return bool(places)

    def _put(self, run: IndexedRun) -> None:
        if not run.changed_ns:  # the directory has gone meanwhile
            return
        self._database.execute(INSERT_PRICE, (run.price,))
        measured = [row for row in run.rows if row.status == "ok"]
        row = self._database.execute(
            INSERT_RUN,
            (
                run.place, run.changed_ns, run.files, run.status, run.why, run.journal_sha256,
                run.run_id, run.name, run.started, run.finished, run.verdict, run.models, run.machine,
                min((row.cost for row in measured if row.cost is not None), default=None),
                min((row.ratio for row in measured if row.ratio is not None), default=None),
                run.price,
            ),
        )  # fmt: skip
        rows = ((row.lastrowid, number, *vars(each).values()) for number, each in enumerate(run.rows))
        self._database.executemany(INSERT_ROW, rows)

    def _delete(self, places: Iterable[bytes]) -> None:
        for place in places:
            self._database.execute(DELETE_ROWS, (place,))
            self._database.execute(DELETE_RUN, (place,))

    def _rows_of(self, runs: Sequence[int]) -> dict[int, list[IndexedRow]]:
        """Return the rows of runs, by the run's number in the index."""
        by_run: dict[int, list[IndexedRow]] = {}
        self._database.execute("CREATE TEMP TABLE asked (id INTEGER PRIMARY KEY)")
        self._database.executemany("INSERT INTO asked VALUES (?)", ((run,) for run in runs))
        for run, *values in self._ask(ROWS):
            by_run.setdefault(run, []).append(indexed_row(values))
        self._database.execute("DROP TABLE asked")
        return by_run

    def _keep(self) -> None:
        """Save the index if it has changed. If that fails, the next call reads all runs again."""
        if self._changed:
            write_database(self._out, self._database)
            self._changed = False
