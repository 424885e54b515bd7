"""What the journal survives (faults 9 to 15 of the fault table), and that nothing else passes for one."""

from __future__ import annotations

import errno
import gzip
import hashlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.bounded import is_pointer
from bench.errors import BenchError, IntegrityError, TerminatedRun
from bench.store import chain, journal_end
from bench.store import journal as journals
from bench.store.files import _may_have_a_huge_number, canonical_json, digest
from bench.store.journal import Journal, JournalRead, read_journal
from bench.store.journal_end import last_digest

KINDS = ("run_started", "slices", "unit_closed")
ROOT = Path(__file__).resolve().parents[2]


def clock() -> str:
    return "2025-01-01T00:00:00Z"


def write_three(path: Path) -> bytes:
    with Journal.create(path, clock) as journal:
        journal.append(KINDS[0], {"name": "quickstart"})
        journal.append(KINDS[1], {"arm": "é", "seconds": [0.25, 1e-05]})
        journal.append(KINDS[2], {"ok": True, "why": None})
    return path.read_bytes()


def test_a_record_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    """What was measured before it would be lost with it."""

    def check(record: Mapping[str, object]) -> None:
        if record.get("name") == "a\nb":
            raise IntegrityError("name: should be one line")

    with Journal.create(tmp_path / "j", clock, check) as journal:
        journal.append("arm", {"name": "a"})
        with pytest.raises(BenchError, match=r"kind 'arm': name: should be one line$"):
            journal.append("arm", {"name": "a\nb"})
    with Journal.reopen(tmp_path / "j", clock, check) as journal:
        journal.append("arm", {"name": "b"})
        with pytest.raises(BenchError, match="should be one line"):
            journal.append("arm", {"name": "a\nb"})
    assert [record["name"] for record in read_journal(tmp_path / "j").records] == ["a", "b"]


def put(path: Path, data: bytes) -> None:
    """A fresh file each time: ext4 flushes a file that is truncated and written again, which takes 3 ms."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def kinds(read: JournalRead) -> tuple[object, ...]:
    return tuple(record["kind"] for record in read.records)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    data = write_three(path)
    read = read_journal(path)
    assert kinds(read) == KINDS
    assert read.notices == ()
    assert read.records[1]["seconds"] == [0.25, 1e-05]
    assert [record["seq"] for record in read.records] == [1, 2, 3]
    assert read.records[0]["prev"] == "0" * 64
    assert read.records[0]["at_utc"] == clock()
    assert data.count(b"\n") == 3


def test_empty_journal_is_whole(tmp_path: Path) -> None:
    Journal.create(tmp_path / "j", clock).close()
    assert read_journal(tmp_path / "j") == JournalRead((), (), "0" * 64)


def test_create_refuses_a_file_or_a_link_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(BenchError, match="exists"):
            Journal.create(tmp_path / name, clock)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_reopen_does_not_follow_a_link(tmp_path: Path) -> None:
    write_three(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BenchError, match="cannot reopen"):
        Journal.reopen(tmp_path / "link", clock)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, os.mkfifo])
def test_no_journal(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "j")
    with pytest.raises(BenchError, match=str(tmp_path / "j")):
        Journal.reopen(tmp_path / "j", clock)
    for use in (read_journal, last_digest):
        with pytest.raises(IntegrityError, match=str(tmp_path / "j")):
            use(tmp_path / "j")


@pytest.mark.fault(13)
def test_torn_at_every_byte_of_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    data = write_three(path)
    start = data[:-1].rindex(b"\n") + 1
    for end in range(start, len(data)):
        put(path, data[:end])
        read = read_journal(path)
        assert kinds(read) == KINDS[:2]
        assert last_digest(path) == read.digest
        assert len(read.notices) == (end > start), end
        assert all(f"{path}:3: dropped a torn last line" in notice for notice in read.notices)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
@pytest.mark.fault(14)
def test_a_flipped_bit_is_never_taken_for_data(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "journal.jsonl"
    data = write_three(path)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= mask
        put(path, bytes(flipped))
        if position == len(data) - 1:  # the last newline: looks like a write cut short
            read = read_journal(path)
            assert (kinds(read), len(read.notices)) == (KINDS[:2], 1)
        else:
            line = data.count(b"\n", 0, position) + 1
            with pytest.raises(IntegrityError, match=f"{path}:{line}: "):
                read_journal(path)


@pytest.mark.parametrize(
    ("order", "line"),
    [((1, 2), 1), ((0, 2), 2), ((0, 0, 1, 2), 2), ((0, 1, 2, 2), 4), ((1, 0, 2), 1), ((0, 2, 1), 2)],
)
@pytest.mark.fault(15)
def test_lines_deleted_duplicated_or_reordered(tmp_path: Path, order: tuple[int, ...], line: int) -> None:
    path = tmp_path / "journal.jsonl"
    lines = write_three(path).splitlines(keepends=True)
    put(path, b"".join(lines[index] for index in order))
    with pytest.raises(IntegrityError, match=f"{path}:{line}: record"):
        read_journal(path)
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match=f"{path}:{line}: "):
        Journal.reopen(path, clock)
    assert path.read_bytes() == before


def test_a_whole_line_lost_at_the_end_shows_in_the_digest_only(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = write_three(path).splitlines(keepends=True)
    whole = read_journal(path)
    put(path, b"".join(lines[:2]))
    assert read_journal(path).notices == ()
    assert read_journal(path).digest != whole.digest


def sealed(**record: object) -> bytes:
    """A line whose check fits, as a careful forger would write it."""
    return canonical_json({**record, "check": digest(record)}).encode() + b"\n"


GENUINE = {"seq": 1, "prev": "0" * 64, "kind": "k", "at_utc": "t"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "not JSON"),
        (b"[1]\n", "not a record"),
        (b"{}\n", "not the line that was written"),
        (b'{"a":1,"a":2}\n', "key 'a' stands twice"),
        (b'{"a":{"b":1,"b":1}}\n', "key 'b' stands twice"),
        (b'{"a":NaN}\n', "NaN is not a number"),
        (b'{"a":1e999}\n', "beyond the range"),
        (b'{"a":' + b"9" * 400 + b"}\n", "an integer of 400 digits"),
        (b"[" * 50_000 + b"\n", "nested too deeply"),
        (b"[" * 101 + b"]" * 101 + b"\n", "nested too deeply"),
        (b"[" * 100 + b"]" * 100 + b"\n", "not a record"),
        (b'{"a":"\xff"}\n', "utf-8"),
        (b"\xef\xbb\xbf{}\n", "BOM"),
        (sealed(**GENUINE).replace(b":", b": "), "not the line that was written"),
        (sealed(**{**GENUINE, "seq": True}), "record True is in the place of record 1"),
        (sealed(**{**GENUINE, "seq": 2}), "record 2 is in the place of record 1"),
        (sealed(**{**GENUINE, "prev": "f" * 64}), "the chain is broken"),
        (sealed(**{**GENUINE, "kind": 3}), "without kind"),
    ],
)
@pytest.mark.bad_input(44)
def test_what_is_no_record(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "journal.jsonl"
    put(path, line)
    with pytest.raises(IntegrityError, match=reason) as caught:
        read_journal(path)
    assert str(caught.value).startswith(f"{path}:1: ")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,01eE-\\u\n', max_size=60).map(str.encode)))
def test_any_bytes_load_or_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    put(path, data)
    if is_pointer(data, len(data)):  # Hypothesis knows the constants of the source
        with pytest.raises(BenchError, match="git lfs pull"):
            read_journal(path)
    elif b"\n" in data:
        with pytest.raises(IntegrityError):
            read_journal(path)
    else:
        assert read_journal(path).records == ()


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(values, max_size=3))
def test_any_payload_reads_back(tmp_path: Path, payloads: list[object]) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)  # it is slow, and other tests' matter
        with Journal.create(path, clock) as journal:
            for payload in payloads:
                journal.append("slice", {"value": payload})
    found = [record["value"] for record in read_journal(path).records]
    assert canonical_json(found) == canonical_json(payloads)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_and_leaves_no_trace(tmp_path: Path, value: float) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.create(path, clock) as journal:
        journal.append("first", {})
        with pytest.raises(BenchError, match=r"journal\.jsonl: cannot store a record of kind 'slices'"):
            journal.append("slices", {"seconds": [1.0, value]})
        journal.append("second", {})
    assert kinds(read_journal(path)) == ("first", "second")


def test_what_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with Journal.create(tmp_path / "j", clock) as journal:
        for payload in ({"value": deep}, {"value": 10**60}, {"histogram": {9: 1, 10: 2}}):
            with pytest.raises(BenchError, match="cannot store"):
                journal.append("slices", payload)
        with pytest.raises(ValueError, match=r"own keys: \['seq'\]"):
            journal.append("slices", {"seq": 7})
    assert read_journal(tmp_path / "j").records == ()


def test_reopen_after_a_torn_line_continues_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    put(path, write_three(path)[:-5])
    with Journal.reopen(path, clock) as journal:
        assert "dropped a torn last line" in journal.notices[0]
        journal.append("resumed", {})
    read = read_journal(path)
    assert kinds(read) == (*KINDS[:2], "resumed")
    assert read.notices == ()


class Disk:
    """Stands in for ``os.write``: ``room`` bytes fit, then the disk answers with ``error``."""

    def __init__(self, room: int, error: int, chunk: int = 10) -> None:
        self.room, self.error, self.chunk = room, error, chunk
        self.write = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(self.error, os.strerror(self.error))
        taken = self.write(fd, data[: min(self.room, self.chunk)])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 1, 57])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.fault(11, 12)
def test_a_disk_that_fails_on_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, room: int
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, clock)
    journal.append("first", {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(room, error))
        with pytest.raises(BenchError, match="its first 1 records are intact") as caught:
            journal.append("lost", {})
    assert str(path) in str(caught.value)
    assert os.strerror(error) in str(caught.value)
    assert kinds(read_journal(path)) == ("first",)
    journal.append("second", {})  # there is room again
    journal.close()
    read = read_journal(path)
    assert (kinds(read), read.notices) == (("first", "second"), ())


def test_close_cuts_what_a_full_disk_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, clock)
    journal.append("first", {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(30, errno.ENOSPC))
        with pytest.raises(BenchError, match="No space left"), journal:
            journal.append("lost", {})
    assert read_journal(path).notices == ()


def test_ctrl_c_within_an_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    genuine = os.write

    def interrupted(fd: int, data: bytes) -> int:
        genuine(fd, data)
        raise KeyboardInterrupt

    with Journal.create(path, clock) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                journal.append("interrupted", {})
        journal.append("closing", {})
    assert kinds(read_journal(path)) == ("closing",)


def test_a_signal_within_an_append_is_no_fault_of_the_record(tmp_path: Path) -> None:
    """A job that was ended for its time said that its journal cannot store a record."""

    def terminated() -> str:
        raise TerminatedRun("terminated")

    with Journal.create(tmp_path / "journal.jsonl", terminated) as journal, pytest.raises(TerminatedRun):
        journal.append("arm", {})


@pytest.mark.fault(12)
def test_a_failed_sync_ends_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, clock)
    journal.append("first", {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(BenchError, match=r"cannot sync .*journal\.jsonl: Input/output error"):
            journal.sync()
    for use in (journal.sync, lambda: journal.append("second", {})):
        with pytest.raises(BenchError, match="is closed"):
            use()
    journal.close()
    assert kinds(read_journal(path)) == ("first",)


NURSERY = """
import bench.records  # once, and not in each writer
import os, sys
from pathlib import Path
from bench.store.journal import Journal

def write_for_ever():
    write = os.write
    with Journal.reopen(Path(sys.argv[1]), lambda: "now") as journal:
        print(os.getpid(), flush=True)
        os.write = lambda fd, data: write(fd, data[:1])  # a slow disk: most kills hit a record half written
        while True:
            journal.append("slices", {"seconds": [0.5] * 60})

for _ in sys.stdin:  # a writer a line, forked, for starting Python takes longer than the whole test
    child = os.fork()
    if not child:
        write_for_ever()
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.mark.fault(9)
def test_sigkill_at_random_points(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal.create(path, clock).close()
    chance = random.Random(20)
    earlier: tuple[object, ...] = ()
    torn = 0
    command = [sys.executable, "-c", NURSERY, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        for turn in range(2000):  # 20, and beside load until enough was written
            if turn >= 20 and torn and len(earlier) > 5:
                break
            nursery.stdin.write(b"\n")
            writer = int(nursery.stdout.readline())
            time.sleep(chance.uniform(0, 0.004))
            os.kill(writer, signal.SIGKILL)
            assert nursery.stdout.readline() == b"dead\n"
            read = read_journal(path)
            assert read.records[: len(earlier)] == earlier
            earlier = read.records
            torn += len(read.notices)
    assert len(earlier) > 5
    assert torn > 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_without_an_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool
) -> None:
    monkeypatch.setattr(journals, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / ("journal.jsonl.gz" if packed else "journal.jsonl")
    content = bytes(3 << 20)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(IntegrityError, match=r":1: the line is longer than 1 MiB"):
        read_journal(path)


def chained(payloads: list[bytes]) -> bytes:
    """The lines of a journal of these records, each sealed and bound to the one before it."""
    previous, written = "0" * 64, []
    for number, payload in enumerate(payloads, start=1):
        record = {"seq": number, "prev": previous, "kind": "note", "at_utc": "t", "x": 0}
        line = canonical_json(record).encode().replace(b'"x":0', b'"x":' + payload)
        check = hashlib.sha256(line).hexdigest()
        line = line.replace(b'"kind"', b'"check":"%s","kind"' % check.encode(), 1)
        previous = hashlib.sha256(line).hexdigest()
        written.append(line + b"\n")
    return b"".join(written)


def packed(path: Path, payloads: list[bytes]) -> Path:
    """The same, packed."""
    path.write_bytes(gzip.compress(chained(payloads), 6))
    return path


MANY = {
    "values": (b"[" + b"1.5," * 990_000 + b"1.5]", 5, "3000000 values"),
    "one line of values": (b"[" + b"1.5," * 1_000_001 + b"1.5]", 1, "1000000 values"),
    "lists": (b"[" + b"[]," * 90_000 + b"1]", 3, "200000 lists"),
    "objects": (b"[" + b"{}," * 90_000 + b"1]", 3, "200000 lists and objects"),
    "one line of lists": (b"[" + b"[]," * 110_000 + b"1]", 1, "100000 lists"),
    "keys": (canonical_json({f"k{n}": 0 for n in range(90_000)}).encode(), 7, "600000 keys"),
    "bytes": (b'"' + b"x" * (7 << 20) + b'"', 7, "48 MiB"),
    "one long line": (b'"' + b"x" * (8 << 20) + b'"', 1, "longer than 8 MiB"),
    "records": (b"0", 20_001, "20000 records"),
    "depth": (b"[" * 900 + b"]" * 900, 1, "nested too deeply"),
}


@pytest.mark.parametrize("what", MANY)
def test_a_small_journal_that_unpacks_into_very_much(tmp_path: Path, what: str) -> None:
    """52 kB took 1,080 MB. Now each bound is refused before the memory of the whole is taken."""
    payload, lines, words = MANY[what]
    path = packed(tmp_path / "journal.jsonl.gz", [payload] * lines)
    assert path.stat().st_size < 3 << 20
    with pytest.raises(IntegrityError, match=words):
        read_journal(path, kinds=frozenset({"arm"}))
    if what in ("bytes", "one long line", "records"):
        with pytest.raises(IntegrityError, match=words):
            last_digest(path)


AROUND: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda whole: whole + bytes(40 << 20),
    "empty parts": lambda whole: whole + gzip.compress(b"") * 500_000,
    "a name without an end": lambda whole: whole[:3] + b"\x08" + whole[4:10] + b"x" * (40 << 20),
    "too much": lambda whole: whole + bytes(49 << 20),
    "an end too early": lambda whole: whole[:-9],
}


@pytest.mark.parametrize("what", AROUND)
def test_what_is_around_a_packed_journal_is_not_stepped_through(tmp_path: Path, what: str) -> None:
    """20 MiB of zeros after its end, all of them holes, took 18 seconds."""
    write_three(tmp_path / "j")
    path = tmp_path / "journal.jsonl.gz"
    path.write_bytes(AROUND[what](gzip.compress((tmp_path / "j").read_bytes())))
    began = time.process_time()
    for use in (read_journal, last_digest):
        with pytest.raises(IntegrityError, match="cannot be unpacked"):
            use(path)
    assert time.process_time() - began < 2


def test_what_nothing_reads_is_not_kept(tmp_path: Path) -> None:
    write_three(tmp_path / "j")
    read = read_journal(tmp_path / "j", kinds=frozenset({"slices"}))
    assert kinds(read) == KINDS
    assert [set(record) - {"seq", "prev", "kind", "at_utc"} for record in read.records] == [
        set(), {"arm", "seconds"}, set(),
    ]  # fmt: skip
    assert read.digest == read_journal(tmp_path / "j").digest


@pytest.mark.parametrize("tail", [b"", b"torn", b"x" * 200_000])
def test_the_last_line_is_found_from_the_end(tmp_path: Path, tail: bytes) -> None:
    """Only the end is read, further back for lines longer than one reading; an empty journal has no line."""
    path = tmp_path / "j"
    for length in (0, 1, journal_end.FIRST_REACH - 1, journal_end.FIRST_REACH, 1_000_000):
        for before in (b"", b"one\n", b"\n", b"y" * 100_000 + b"\n"):
            put(path, before + b"z" * length + b"\n" + tail)
            assert last_digest(path) == hashlib.sha256(b"z" * length).hexdigest()
    put(path, tail)
    assert last_digest(path) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("content", [b"a\n" + b"x" * (9 << 20) + b"\n", b"a\n" * (25 << 20)])
def test_what_is_too_long_has_no_last_line(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "j", content)
    with pytest.raises(IntegrityError, match="is longer than"):
        last_digest(tmp_path / "j")


@pytest.mark.parametrize("bound", ["MAX_RECORDS", "MAX_BYTES"])
def test_nothing_is_written_that_could_not_be_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(chain, bound, 1000 if bound == "MAX_BYTES" else 3)
    journal = Journal.create(tmp_path / "j", clock)
    for _ in range(3):
        journal.append("k", {"text": "x" * 60})
    with pytest.raises(BenchError, match="cannot store a record of kind 'k': the journal has more than"):
        journal.append("k", {"text": "x" * 60})
    journal.close()
    assert len(read_journal(tmp_path / "j").records) == 3


def test_a_journal_at_the_bound_is_read_in_time(tmp_path: Path) -> None:
    """2.66 s of 24 MB in windows of text: every record was written once more to hold it against its line, and
    every number was looked at, because the digits of a digest look like an exponent."""
    values = b"[" + b",".join([b"-1.2345,0.123"] * 480_000) + b"]"
    (tmp_path / "j").write_bytes(chained([values] * 3))
    began = time.process_time()
    assert len(read_journal(tmp_path / "j").records) == 3
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "looked_at"),
    [
        (b'{"a":"3e141f","b":"0e9991"}', False), (b'{"prev":"aa1e123bb"}', False), (b"[1e5,2.5E-07]", False),
        (b"[1e999]", True), (b"[1E+400,2]", True), (b'{"a":1e-999}', True), (b"1e999", True),
        (b"[1e999 ]", True), (b"[" + b"9" * 41 + b"]", True), (b"[1e999\n]", True),
    ],
)  # fmt: skip
def test_which_numbers_are_looked_at(text: bytes, looked_at: bool) -> None:
    assert _may_have_a_huge_number(text) == looked_at


def test_real_journals_have_ten_times_as_much_room() -> None:
    largest = max(
        (ROOT / "results/reference").rglob("journal.jsonl.gz"), key=lambda path: path.stat().st_size
    )
    content = gzip.decompress(largest.read_bytes())
    found = chain.contents_of(content)
    for room, used in (
        (chain.MAX_BYTES, len(content)),
        (chain.MAX_RECORDS, content.count(b"\n")),
        (chain.MAX_LINE_BYTES, max(map(len, content.splitlines()))),
        (chain.MOST_IN_ALL.containers, found.containers),
        (chain.MOST_IN_ALL.values, found.values),
        (chain.MOST_IN_ALL.keys, found.keys),
    ):
        assert used * 10 <= room


def test_a_check_within_the_payload_is_not_taken_for_the_check(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j", clock) as journal:
        journal.append("k", {"a": {"check": "0" * 64, "z": 1}, "b": '"check":"00",'})
    assert read_journal(tmp_path / "j").records[0]["a"] == {"check": "0" * 64, "z": 1}


def test_samples_are_appended_faster_than_they_are_measured(tmp_path: Path) -> None:
    """At least 20,000 requests of 32 tokens a second, and a tenth of that on a machine with other work."""
    request = {
        "sent_ns": 10**12, "stamps_ns": [10**12 + step for step in range(32)], "end_ns": 10**12 + 33,
        "input_tokens": [40], "tokens": [list(range(1000, 1032))],
    }  # fmt: skip
    with Journal.create(tmp_path / "journal.jsonl", clock) as journal:
        began = time.process_time()
        for _ in range(20):
            journal.append("arm", {"group": "", "name": "v", "solo": [request] * 100})
        assert 2000 / (time.process_time() - began) > 2000
