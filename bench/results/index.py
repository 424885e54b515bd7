"""Keep an index of the runs in a directory, so that lists and re-pricing need not read every run again.

The index is a cache beside the journals and can be made from them at any time. A directory is read again if
its time of change is no longer the one in the index. Before a run is handed out, the state of its files
(``files_of``) is compared too; the same is done for every run that is not finished.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UsageError
from bench.results.index_schema import (
    DELETE_ROWS,
    DELETE_RUN,
    INSERT_PRICE,
    INSERT_ROW,
    INSERT_RUN,
    KNOWN,
    OPEN,
    ROWS,
    RUN_COLUMNS,
    SCHEMA,
    indexed_row,
)  # fmt: skip
from bench.results.indexed import IndexedRow, IndexedRun, files_of
from bench.results.wanted import Wanted
from bench.store.index_file import empty_database, read_database, write_database

ReadMany = Callable[[Sequence[bytes]], Iterable[IndexedRun]]
Kind = TypeVar("Kind")
AT_ONCE = 10_000  # directories that are read before the index is written again


def one_by_one(directories: Sequence[bytes]) -> Iterator[IndexedRun]:
    """Read directories in this process."""
    from bench.results.index_entry import read_run

    return map(read_run, directories)


class Index:
    """The runs in one directory. ``read_many`` reads directories, in any number of processes.

    Raises UsageError if ``out`` is not a directory.
    """

    def __init__(self, out: Path, read_many: ReadMany = one_by_one) -> None:
        if not out.is_dir():
            raise UsageError(f"{out} is not a directory of runs")
        self._out, self._root, self._read_many = out, os.fsencode(out), read_many
        self._database = read_database(out, SCHEMA)
        self._changed = False
        self._if_it_makes_sense(self._refresh)

    def runs(self, wanted: Wanted) -> list[IndexedRun]:
        """Return the wanted runs with their rows, in the wanted order."""
        return self._if_it_makes_sense(lambda: self._runs(*wanted.query(RUN_COLUMNS)))

    def count(self, wanted: Wanted) -> int:
        """Return how many runs fit what is wanted, even if fewer are shown."""
        query, values = wanted.count()
        return int(self._if_it_makes_sense(lambda: self._ask(query, values)[0][0]))

    def _if_it_makes_sense(self, act: Callable[[], Kind]) -> Kind:
        """Ask the index. If it makes no sense, something else wrote its file: read all runs and ask again."""
        try:
            return act()
        except (sqlite3.Error, ArithmeticError, TypeError, ValueError):
            self._database.close()
            self._database = empty_database(SCHEMA)
            self._refresh()
            return act()

    def _runs(self, query: str, values: Sequence[object]) -> list[IndexedRun]:
        checked: set[bytes] = set()
        while True:
            runs = self._ask(query, values)
            unchecked = [(run[1], run[3]) for run in runs if run[1] not in checked]
            checked.update(place for place, _files in unchecked)
            if not self._read(self._in_another_state(unchecked)):
                break
        if any(run[-1] is None for run in runs):
            raise ValueError("a run without its price")
        self._keep()
        rows = self._rows_of([run[0] for run in runs])
        return [replace(IndexedRun(*run[1:]), rows=tuple(rows.get(run[0], ()))) for run in runs]

    def _refresh(self) -> None:
        """Read what is new or has changed since the index was made, and forget what is gone."""
        known: dict[bytes, int] = dict(self._database.execute(KNOWN))
        stale = self._changed_since(known)
        with self._transaction():
            self._delete(known)  # what is left in it is no longer in the directory
        self._changed |= bool(known)
        done = {*known, *stale}
        stale += self._in_another_state(row for row in self._ask(OPEN) if row[0] not in done)
        self._read(stale)
        self._keep()

    def _changed_since(self, known: dict[bytes, int]) -> list[bytes]:
        """Return the directories whose time of change differs from the known one. Remove from ``known`` all
        directories that are still there."""
        root = os.open(self._out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stale = []
        try:
            for place in os.listdir(self._root):  # noqa: PTH208 - bytes, which a name of a file may need
                try:
                    state = os.stat(place, dir_fd=root)
                except OSError:  # gone, or a link that leads nowhere
                    continue
                other = known.pop(place, None) != state.st_ctime_ns
                if other and stat.S_ISDIR(state.st_mode) and not place.startswith(b"."):
                    stale.append(place)
        finally:
            os.close(root)
        return stale

    def _in_another_state(self, known: Iterable[tuple[bytes, str]]) -> list[bytes]:
        """Return the directories whose files have changed since they were put into the index."""
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
            self._database.execute("COMMIT")  # even after a failure: what is missing is read next time

    def _read(self, places: Sequence[bytes]) -> bool:
        """Read these directories into the index; return whether there were any. The index is written from
        time to time, so that an interrupted reading does not start from the beginning."""
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
        if not run.changed_ns:  # it has gone since
            return
        self._database.execute(INSERT_PRICE, (run.price,))
        row = self._database.execute(
            INSERT_RUN,
            (
                run.place, run.changed_ns, run.files, run.status, run.why, run.journal_sha256,
                run.run_id, run.name, run.started, run.finished, run.verdict, run.models, run.machine,
                run.price,
            ),
        )  # fmt: skip
        rows = ((row.lastrowid, number, *vars(one).values()) for number, one in enumerate(run.rows))
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
        """Write the index beside the runs if it has changed. If that fails, all runs are read next time."""
        if self._changed:
            write_database(self._out, self._database)
            self._changed = False
