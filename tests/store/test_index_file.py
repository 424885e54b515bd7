"""The file of an index is data: whatever lies there, nothing runs and nothing else is touched."""

from __future__ import annotations

import os
import random
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import index_file
from bench.store.index_file import INDEX, empty_database, read_database, write_database

SCHEMA = "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"


def with_rows(count: int = 3) -> sqlite3.Connection:
    database = empty_database(SCHEMA)
    database.executemany("INSERT INTO runs (name) VALUES (?)", ((f"run-{n}",) for n in range(count)))
    return database


def names(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM runs ORDER BY id")]


def test_what_is_written_is_read_back_and_is_private(tmp_path: Path) -> None:
    assert write_database(tmp_path, with_rows())
    assert names(read_database(tmp_path, SCHEMA)) == ["run-0", "run-1", "run-2"]
    assert (tmp_path / INDEX).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]


def test_without_one_it_is_empty(tmp_path: Path) -> None:
    assert names(read_database(tmp_path, SCHEMA)) == []


def checked(path: Path) -> None:
    """Append the checksum, as somebody would who means it."""
    path.write_bytes(path.read_bytes() + zlib.crc32(path.read_bytes()).to_bytes(4, "big"))


def other_tables(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.executescript(SCHEMA + "INSERT INTO runs (name) VALUES ('theirs'); CREATE TABLE more (a);")
    foreign.close()
    checked(path)


def a_view_of_that_name(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.executescript("CREATE VIEW runs AS SELECT 1 AS id, hex(zeroblob(900000000)) AS name")
    foreign.close()
    checked(path)


def a_trigger(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.executescript(
        SCHEMA + "CREATE TRIGGER wipe AFTER INSERT ON runs BEGIN DELETE FROM runs WHERE id < new.id; END;"
    )
    foreign.close()
    checked(path)


def another_mode(path: Path) -> None:
    """A database that SQLite would read together with the file beside it."""
    foreign = sqlite3.connect(path)
    foreign.execute("PRAGMA journal_mode = WAL")
    foreign.executescript(SCHEMA)
    foreign.close()
    data = bytearray(path.read_bytes())
    data[18:20] = b"\x02\x02"
    path.write_bytes(data)
    checked(path)


def a_link(path: Path) -> None:
    ours = path.with_name("elsewhere.sqlite")
    target = sqlite3.connect(ours)
    target.executescript(SCHEMA + "INSERT INTO runs (name) VALUES ('theirs');")
    target.close()
    checked(ours)
    path.symlink_to(ours)


def anybody_may_write(path: Path) -> None:
    write_database(path.parent, with_rows())
    path.chmod(0o666)


FOREIGN: tuple[Callable[[Path], object], ...] = (
    other_tables, a_view_of_that_name, a_trigger, another_mode, a_link, anybody_may_write,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(84)),
    lambda path: path.write_bytes(random.Random(1).randbytes(20_000)),
    lambda path: path.mkdir(),
    lambda path: os.mkfifo(path),
)  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_that_is_not_ours_is_not_used(tmp_path: Path, foreign: Callable[[Path], object]) -> None:
    foreign(tmp_path / INDEX)
    database = read_database(tmp_path, SCHEMA)
    assert names(database) == []
    database.execute("INSERT INTO runs (name) VALUES ('new')")
    assert names(database) == ["new"]


def test_one_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_database(tmp_path, with_rows())
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert names(read_database(tmp_path, SCHEMA)) == []


def test_a_damaged_one_ends_in_an_error_of_sqlite_or_in_rows(tmp_path: Path) -> None:
    """200 files of which some bytes are others, as a reader with the same tables finds them."""
    write_database(tmp_path, with_rows(500))
    path, draw = tmp_path / INDEX, random.Random(7)
    sound = path.read_bytes()[:-4]
    refused = 0
    for _ in range(200):
        data = bytearray(sound)
        for _ in range(draw.randint(1, 30)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.randint(100, len(data))])
        checked(path)
        try:
            names(read_database(tmp_path, SCHEMA))
        except sqlite3.Error:
            refused += 1
    assert refused > 0


def test_files_beside_it_are_left_alone(tmp_path: Path) -> None:
    """SQLite itself would play back a journal that it finds, and delete the file that this one names."""
    write_database(tmp_path, with_rows())
    precious = tmp_path / "precious"
    precious.write_text("mine")
    name = os.fsencode(precious)
    tail = name + len(name).to_bytes(4, "big") + (sum(name) % 2**32).to_bytes(4, "big")
    magic = bytes.fromhex("d9d505f920a163d7")
    (tmp_path / f"{INDEX}-journal").write_bytes(magic + bytes(504) + tail + magic)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(names(read_database(tmp_path, SCHEMA))) == 3
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_to_read_only_has_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert not write_database(tmp_path, with_rows())
    finally:
        tmp_path.chmod(0o700)


def test_one_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    assert not write_database(tmp_path / "gone", with_rows())


def test_one_that_is_too_large_is_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_database(tmp_path, with_rows())
    monkeypatch.setattr(index_file, "MOST_BYTES", 100)
    assert names(read_database(tmp_path, SCHEMA)) == []
    assert not write_database(tmp_path, with_rows())
