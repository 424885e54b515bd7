"""An index of the runs in a directory: what lists and re-pricing need of each, without reading it again.

It is a cache beside the journals and can be made from them at any time. A directory is read again if its own
time of change differs from the one in the index; what is handed out of a run is first held against the state
of the run's files (``files_of``), and so is every run that is not finished.
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
AT_ONCE = 10_000  # directories that are read before the index is kept


def one_by_one(directories: Sequence[bytes]) -> Iterator[IndexedRun]:
    """Read directories in this process."""
    from bench.results.index_entry import read_run

    return map(read_run, directories)


class Index:
    """The runs in one directory.

    ``read_many`` reads directories, in any number of processes. Raises UsageError without a directory.
    """

    def __init__(self, out: Path, read_many: ReadMany = one_by_one) -> None:
        if not out.is_dir():
            raise UsageError(f"{out} is not a directory of runs")
        self._out, self._root, self._read_many = out, os.fsencode(out), read_many
        self._database = read_database(out, SCHEMA)
        self._changed = False
        self._if_it_makes_sense(self._refresh)

    def runs(self, wanted: Wanted) -> list[IndexedRun]:
        """Return the runs that are wanted, in their order, with their rows."""
        return self._if_it_makes_sense(lambda: self._runs(*wanted.query(RUN_COLUMNS)))

    def count(self, wanted: Wanted) -> int:
        """Return how many runs there are of this kind, however many are shown."""
        query, values = wanted.count()
        return int(self._if_it_makes_sense(lambda: self._ask(query, values)[0][0]))

    def _if_it_makes_sense(self, act: Callable[[], Kind]) -> Kind:
        """Ask the index. If it makes no sense, its file was not ours: read everything, and ask again."""
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
            found = self._ask(query, values)
            shown = [(row[1], row[3]) for row in found if row[1] not in checked]
            checked.update(place for place, _files in shown)
            if not self._read(self._in_another_state(shown)):
                break
        if any(row[-1] is None for row in found):
            raise ValueError("a run without its price")
        self._keep()
        rows = self._rows_of([row[0] for row in found])
        return [replace(IndexedRun(*row[1:]), rows=tuple(rows.get(row[0], ()))) for row in found]

    def _refresh(self) -> None:
        """Read what is new or has changed since the index was made, and forget what is gone."""
        known: dict[bytes, int] = dict(self._database.execute(KNOWN))
        stale = self._changed_since(known)
        with self._transaction():
            self._delete(known)  # those that are left have gone
        self._changed |= bool(known)
        done = {*known, *stale}
        stale += self._in_another_state(row for row in self._ask(OPEN) if row[0] not in done)
        self._read(stale)
        self._keep()

    def _changed_since(self, known: dict[bytes, int]) -> list[bytes]:
        """Return the directories of which the time of change is not the known one; take all that are still
        there out of ``known``."""
        root = os.open(self._out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stale = []
        try:
            for place in os.listdir(self._root):  # noqa: PTH208 - bytes, which a name of a file may need
                try:
                    found = os.stat(place, dir_fd=root)
                except OSError:  # gone, or a link that leads nowhere
                    continue
                other = known.pop(place, None) != found.st_ctime_ns
                if other and stat.S_ISDIR(found.st_mode) and not place.startswith(b"."):
                    stale.append(place)
        finally:
            os.close(root)
        return stale

    def _in_another_state(self, known: Iterable[tuple[bytes, str]]) -> list[bytes]:
        """Return the directories of which the files are no longer what the index says."""
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
            self._database.execute("COMMIT")  # half of it is as good: what is missing is read next time

    def _read(self, places: Sequence[bytes]) -> bool:
        """Read these directories into the index; return whether there were any.

        What was read is kept from time to time, so that who interrupts it does not begin anew.
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
        found: dict[int, list[IndexedRow]] = {}
        self._database.execute("CREATE TEMP TABLE asked (id INTEGER PRIMARY KEY)")
        self._database.executemany("INSERT INTO asked VALUES (?)", ((one,) for one in runs))
        for run, *values in self._ask(ROWS):
            found.setdefault(run, []).append(indexed_row(values))
        self._database.execute("DROP TABLE asked")
        return found

    def _keep(self) -> None:
        """Write the index beside the runs, if it has changed; without it, everything is read next time."""
        if self._changed:
            write_database(self._out, self._database)
            self._changed = False
