"""The file of an index: a small SQLite database that lies beside runs, and that anybody may have put there.

It is read into memory as a whole and written as a whole, so it is never half written, needs no lock, and two
processes at once only do some work twice. SQLite never opens the file itself: beside a database it would obey
the files that it finds, and a journal left there may name any file of this user as one to delete.
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
LONGEST = 1 * MIB  # bytes of a row of it
CHECKSUM = 4  # bytes at the end of the file: they find damage, and no more


def empty_database(schema: str) -> sqlite3.Connection:
    """Return a database in memory, with these tables and nothing in them."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA temp_store = MEMORY")
    database.executescript(schema)
    return database


def read_database(directory: Path, schema: str) -> sqlite3.Connection:
    """Return the index that lies in ``directory``, in memory; an empty one if there is none that can be used.

    One that belongs to another user, or that another user may write to, is not used, and neither is one with
    any other table, view or trigger than those of ``schema``.
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
    except sqlite3.Error:  # no database, or a damaged one: it is made again
        pass
    database.close()
    return empty_database(schema)


def write_database(directory: Path, database: sqlite3.Connection) -> bool:
    """Replace the index in ``directory``; return False if it cannot be, as in a read-only one."""
    content = database.serialize()
    content += _checksum(content)
    if len(content) > MOST_BYTES:
        return False
    with suppress(BenchError):
        write_atomic_bytes(directory / INDEX, content, mode=0o600)
        return True
    return False


def _content(path: Path) -> bytes | None:
    """Return the database in a file that is this user's own and undamaged; None without one."""
    try:
        with open_regular(path, follow=False) as file:
            found = os.fstat(file.fileno())
            others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if found.st_uid != os.geteuid() or others or not 0 < found.st_size <= MOST_BYTES:
                return None
            content = file.read(MOST_BYTES)
    except OSError:
        return None
    database, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    return database if checksum == _checksum(database) else None


def _checksum(database: bytes) -> bytes:
    return zlib.crc32(database).to_bytes(CHECKSUM, "big")


def _tables(database: sqlite3.Connection) -> list[tuple[str, str, str | None, int]]:
    return database.execute("SELECT type, name, sql, rootpage FROM sqlite_schema ORDER BY name").fetchall()
