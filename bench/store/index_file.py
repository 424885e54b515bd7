"""Read and write the file of an index, a small SQLite database in a directory of runs.

The file is read into memory as a whole and written as a whole. So it is never half written and needs no lock;
two processes at once only do some work twice. The file may come from anybody, so SQLite never opens it
itself: it would obey a journal file next to the database, and such a journal can name any file of this user
as one to delete.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from contextlib import suppress
from pathlib import Path

from bench.bounded import open_regular
from bench.errors import BenchError
from bench.formatting import MIB
from bench.store.files import write_atomic_bytes

INDEX = ".index.sqlite"
MOST_BYTES = 512 * MIB  # 100,000 runs of two rows take 63 MiB
LONGEST = 1 * MIB  # the most bytes of a row
CHECKSUM = 4  # bytes at the end of the file; they reveal damage, but not a deliberate change


def empty_database(schema: str) -> sqlite3.Connection:
    """Return a database in memory with the tables of ``schema``, all empty."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA temp_store = MEMORY")
    database.executescript(schema)
    return database


def read_database(directory: Path, schema: str) -> sqlite3.Connection:
    """Return the index of ``directory`` as a database in memory; an empty one if no usable index exists.

    An index is not used if it belongs to another user, if another user may write to it, or if it has any
    table, view or trigger that is not in ``schema``.
    """
    database = empty_database(schema)
    wanted = _tables(database)
    content = _content(directory / INDEX)
    if content is None:
        return database
    try:
        database.deserialize(content)
        if _tables(database) == wanted:
            return database
    except sqlite3.Error:  # not a database, or a damaged one: the caller fills a new one
        pass
    database.close()
    return empty_database(schema)


def write_database(directory: Path, database: sqlite3.Connection) -> bool:
    """Replace the index in ``directory``; return False if it cannot be written, as in a read-only one."""
    content = database.serialize()
    content += _checksum(content)
    if len(content) > MOST_BYTES:
        return False
    with suppress(BenchError):
        write_atomic_bytes(directory / INDEX, content, mode=0o600)
        return True
    return False


def _content(path: Path) -> memoryview | None:
    """Return the bytes of the database if the file is this user's own and undamaged; None otherwise."""
    try:
        with open_regular(path, follow=False) as file:
            status = os.fstat(file.fileno())
            others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if status.st_uid != os.geteuid() or others or not 0 < status.st_size <= MOST_BYTES:
                return None
            content = memoryview(file.read(status.st_size))  # its parts are not copied
    except OSError:
        return None
    database, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    return database if checksum == _checksum(database) else None


def _checksum(database: bytes | memoryview) -> bytes:
    return zlib.crc32(database).to_bytes(CHECKSUM, "big")


def _tables(database: sqlite3.Connection) -> list[tuple[str, str, str | None, int]]:
    return database.execute("SELECT type, name, sql, rootpage FROM sqlite_schema ORDER BY name").fetchall()
