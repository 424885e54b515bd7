"""A compacted journal is read as before, comes back byte for byte, and survives a kill at any line."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import clock
from rich_runs import KINDS, write

from bench.errors import BenchError, ExitCode, IntegrityError, UsageError
from bench.results.compacting import LeftAlone, compact_run, restore_run
from bench.results.summary import RUN_JSON, from_journal, load_run, summary_bytes
from bench.results.verify import verify_run
from bench.store import compacted, compaction, journal_place, parquet_numbers
from bench.store.journal import Journal, opened, read_journal
from bench.store.journal_end import last_digest, records_up_to
from bench.store.replay import journal_of
from bench.store.run_files import JOURNAL, PACKED, REST, SAMPLES
from bench.store.run_lock import run_lock

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parents[2]
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
PAYLOADS = st.dictionaries(
    NAMES.map(lambda name: f"_{name}"),
    st.lists(FINITE | st.integers(-(10**38), 10**38) | st.integers(0, 9), max_size=8) | NAMES | st.none(),
    max_size=4,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run", KINDS["mixed"]())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read Parquet in this process, which is sound there and saves a child for each reading."""
    again = partial(compacted.rebuilt, numbers=compaction._ours)
    monkeypatch.setattr("bench.store.journal.rebuilt", again)


def compact(directory: Path) -> str:
    return compact_run(directory, None, only_look=False)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".lock"}


def refusal(run: Path, do: Callable[[Path], object] = verify_run) -> str:
    with pytest.raises(IntegrityError) as caught:
        do(run)
    assert caught.value.exit_code == ExitCode.INTEGRITY
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_says_what_it_said(kind: str, tmp_path: Path) -> None:
    run = write(tmp_path / "run", KINDS[kind]())
    journal = run / JOURNAL
    whole, before = journal.read_bytes(), (read_journal(journal), load_run(run), from_journal(run))
    middle = before[0].records[3]["prev"]
    ends = last_digest(journal), records_up_to(journal, middle)
    text = verify_run(run)
    assert compact(run).startswith("compacted: ")
    assert names(run) == {REST, SAMPLES, RUN_JSON, "spec.yaml"}
    assert (read_journal(journal_of(run)), load_run(run), from_journal(run)) == before
    assert (last_digest(run / REST), records_up_to(run / REST, middle)) == ends
    assert verify_run(run) == text.replace(JOURNAL, REST)
    restore_run(run)
    assert journal.read_bytes() == whole
    assert names(run) == {JOURNAL, RUN_JSON, "spec.yaml"}


@pytest.mark.parametrize("name", ["quickstart", "serving"])
def test_a_committed_run_becomes_smaller_than_gzip_makes_it(name: str, tmp_path: Path) -> None:
    packed = (ROOT / "results" / "reference" / name / PACKED).read_bytes()
    (tmp_path / PACKED).write_bytes(packed)
    compaction.compact(tmp_path / PACKED)
    assert names(tmp_path) == {REST, SAMPLES}
    assert sum((tmp_path / one).stat().st_size for one in (REST, SAMPLES)) < 0.85 * len(packed)
    compaction.undo(tmp_path)
    assert (tmp_path / JOURNAL).read_bytes() == gzip.decompress(packed)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PAYLOADS, max_size=6), st.integers(0, 3))
def test_any_journal_comes_back(
    tmp_path: Path, quick: None, payloads: list[dict[str, Any]], again: int
) -> None:
    journal = tmp_path / JOURNAL
    journal.unlink(missing_ok=True)
    with Journal.create(journal, clock) as file:
        for payload in payloads + payloads[:1] * again:
            file.append("kept", payload)
    whole, read = journal.read_bytes(), read_journal(journal)
    compaction.compact(journal)
    assert not journal.exists()
    assert read_journal(tmp_path / REST) == read
    compaction.undo(tmp_path)
    assert journal.read_bytes() == whole


def test_other_programs_read_its_columns(run: Path) -> None:
    records = read_journal(run / JOURNAL).records
    compact(run)
    rows = pq.read_table(run / SAMPLES).to_pylist()
    unit = next(record for record in records if record["kind"] == "unit")
    took = [row for row in rows if row["record"] == unit["seq"] and row["path"] == "took_s"]
    assert [row["digits"] * 10.0 ** row["power"] for row in took] == [unit["took_s"]]
    assert (took[0]["kind"], took[0]["row"]) == ("unit", unit["variant"])
    turns = [row["digits"] for row in rows if row["record"] == unit["seq"] and row["path"] == "variant_ns"]
    assert turns == [number for batch in unit["variant_ns"] for number in batch]


# ---- what is left alone --------------------------------------------------------------------------


def test_what_is_not_finished_is_left_alone(run: Path) -> None:
    journal = run / JOURNAL
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for unfinished in (b"".join(lines[:-1]), whole + b'{"torn', b"".join(lines[:-1]) + lines[-1][:-1]):
        journal.write_bytes(unfinished)
        with pytest.raises(LeftAlone, match="not finished"):
            compact(run)
        assert journal.read_bytes() == unfinished
    journal.write_bytes(whole)
    (run / RUN_JSON).unlink()
    with pytest.raises(LeftAlone, match="not finished"):
        compact(run)


def test_a_run_that_goes_on_after_its_end_is_left_alone(run: Path) -> None:
    arm = next(dict(one) for one in read_journal(run / JOURNAL).records if one["kind"] == "arm")
    with Journal.reopen(run / JOURNAL, clock) as journal:
        journal.append("arm", {key: arm[key] for key in arm if key not in ("seq", "prev", "kind", "at_utc")})
    with pytest.raises(LeftAlone, match="not finished"):
        compact(run)


def test_what_was_changed_is_left_alone(run: Path) -> None:
    journal = run / JOURNAL
    whole = journal.read_bytes()
    changed = whole.replace(b'"took_s":1.0', b'"took_s":1.5', 1)
    assert changed != whole
    journal.write_bytes(changed)
    refusal(run, compact)
    assert journal.read_bytes() == changed
    journal.write_bytes(whole)
    summary = (run / RUN_JSON).read_bytes()
    (run / RUN_JSON).write_bytes(summary.replace(b'"status": "ok"', b'"status": "partial"', 1))
    refusal(run, compact)
    assert names(run) == {JOURNAL, RUN_JSON, "spec.yaml"}


def test_a_run_that_another_process_has_is_refused(run: Path) -> None:
    with run_lock(run), pytest.raises(UsageError, match="in use by process"):
        compact(run)
    compact(run)
    with run_lock(run), pytest.raises(UsageError, match="in use by process"):
        restore_run(run)
    with pytest.raises(LeftAlone, match="already"):
        compact(run)
    restore_run(run)
    with pytest.raises(LeftAlone, match="not compacted"):
        restore_run(run)


def test_a_file_of_that_name_that_is_not_ours_stays(run: Path) -> None:
    (run / SAMPLES).write_text("mine")
    with pytest.raises(UsageError, match="not of a compaction"):
        compact(run)
    assert (run / SAMPLES).read_text() == "mine"
    assert (run / JOURNAL).exists()


def test_what_is_compacted_is_not_lost_to_a_journal_that_was_copied_beside_it(
    run: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", KINDS["served"]())
    whole = (run / JOURNAL).read_bytes()
    compact(run)
    for name in (JOURNAL, RUN_JSON, "spec.yaml"):
        (run / name).write_bytes((other / name).read_bytes())
    verify_run(run)
    for do in (compact, restore_run):
        assert "of another journal" in refusal(run, do)
    (run / JOURNAL).unlink()
    compaction.undo(run)
    assert (run / JOURNAL).read_bytes() == whole


def test_a_compaction_that_was_cut_short_and_a_run_that_went_on(run: Path) -> None:
    whole = (run / JOURNAL).read_bytes()
    compact(run)
    (run / JOURNAL).write_bytes(whole)
    with Journal.reopen(run / JOURNAL, clock) as journal:
        journal.append("run_finished", {})
    longer = (run / JOURNAL).read_bytes()
    (run / RUN_JSON).unlink()
    content = json.loads(json.dumps(from_journal(run).to_json()))
    (run / RUN_JSON).write_bytes(summary_bytes(content, run / JOURNAL))
    compact(run)
    restore_run(run)
    assert (run / JOURNAL).read_bytes() == longer


def test_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (run / f".{SAMPLES}.tmp").symlink_to(other)
    (run / REST).symlink_to(other)
    assert "is a link" in refusal(run, compact)
    (run / REST).unlink()
    compact(run)
    assert other.read_text() == "mine"
    whole = (run / SAMPLES).read_bytes()
    (run / SAMPLES).unlink()
    other.write_bytes(whole)
    (run / SAMPLES).symlink_to(other)
    assert "is a link" in refusal(run)


def test_nobody_else_may_read_what_nobody_else_could(run: Path) -> None:
    (run / JOURNAL).chmod(0o600)
    compact(run)
    assert {(run / name).stat().st_mode & 0o777 for name in (REST, SAMPLES)} == {0o600}
    (run / REST).chmod(0o640)
    restore_run(run)
    assert (run / JOURNAL).stat().st_mode & 0o777 == 0o640


def test_a_compacted_run_is_not_continued(run: Path) -> None:
    compact(run)
    with pytest.raises(BenchError, match="bench compact --undo"):
        Journal.reopen(run / JOURNAL, clock)
    assert not (run / JOURNAL).exists()


@pytest.mark.fault(46)
@pytest.mark.parametrize("step", ["fsync", "replace", "unlink", "fchmod"])
def test_a_disk_that_fails(run: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (run / JOURNAL).read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with run_lock(run), monkeypatch.context() as patched:
        patched.setattr(compaction.os, step, fail)
        with pytest.raises(BenchError, match="No space left"):
            compaction.compact(run / JOURNAL)
    assert (run / JOURNAL).read_bytes() == whole
    verify_run(run)
    compact(run)
    restore_run(run)
    assert (run / JOURNAL).read_bytes() == whole


# ---- kills ---------------------------------------------------------------------------------------


def lines_run(do: Callable[[], object]) -> list[int]:
    """The lines of ``compaction.py`` that a call runs, in their order."""
    seen: list[int] = []

    def local(frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            seen.append(frame.f_lineno)
        return local

    def trace(frame: FrameType, _event: str, _arg: object) -> Any:
        return local if frame.f_code.co_filename == compaction.__file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return seen


def killed_before(step: int, do: Callable[[], object]) -> None:
    """Run a call in a child that is killed before it runs its line number ``step``."""
    child = os.fork()
    if child == 0:
        count = 0

        def local(_frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal count
            count += event == "line"
            if count > step:
                os.kill(os.getpid(), signal.SIGKILL)
            return local

        sys.settrace(lambda frame, *_: local if frame.f_code.co_filename == compaction.__file__ else None)
        try:
            do()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def steps(seen: list[int]) -> list[int]:
    """The first and the last time that each line is run."""
    first = {line: step for step, line in reversed(list(enumerate(seen)))}
    last = {line: step for step, line in enumerate(seen)}
    return sorted({*first.values(), *last.values()})


def states(run: Path, do: Callable[[], object], again: Callable[[], object]) -> Iterator[frozenset[str]]:
    """Kill ``do`` at each of its lines, and yield which files of the journal are there then."""
    seen = lines_run(do)
    again()
    for step in steps(seen):
        killed_before(step, do)
        yield frozenset(names(run) & {JOURNAL, REST, SAMPLES})


@pytest.mark.fault(46)
@pytest.mark.usefixtures("quick")
def test_a_kill_at_any_line_loses_nothing(run: Path) -> None:
    whole, read = (run / JOURNAL).read_bytes(), read_journal(run / JOURNAL)

    def do() -> None:
        compaction.compact(run / JOURNAL)

    def undo() -> None:
        compaction.undo(run)

    found = set()
    for state in states(run, do, undo):
        found.add(state)
        assert read_journal(journal_of(run)) == read
        verify_run(run)
        if JOURNAL in state:
            do()
        undo()
        assert (run / JOURNAL).read_bytes() == whole
        assert names(run) == {JOURNAL, RUN_JSON, "spec.yaml"}
    assert found == {
        frozenset({JOURNAL}), frozenset({JOURNAL, REST}), frozenset({JOURNAL, REST, SAMPLES}),
        frozenset({REST, SAMPLES}),
    }  # fmt: skip


@pytest.mark.fault(46)
@pytest.mark.usefixtures("quick")
def test_a_kill_at_any_line_of_an_undo_loses_nothing(run: Path) -> None:
    whole, read = (run / JOURNAL).read_bytes(), read_journal(run / JOURNAL)

    def do() -> None:
        compaction.compact(run / JOURNAL)

    def undo() -> None:
        compaction.undo(run)

    do()
    found = set()
    for state in states(run, undo, do):
        found.add(state)
        assert read_journal(journal_of(run)) == read
        verify_run(run)
        if REST in state:
            undo()
        assert (run / JOURNAL).read_bytes() == whole
        assert names(run) == {JOURNAL, RUN_JSON, "spec.yaml"}
        do()
    assert len(found) == 4


# ---- damage --------------------------------------------------------------------------------------


@pytest.mark.fault(47)
@pytest.mark.parametrize("name", [REST, SAMPLES])
@pytest.mark.usefixtures("quick")
def test_a_file_that_is_torn_or_changed_is_found_by_every_reader(run: Path, name: str) -> None:
    compact(run)
    whole = (run / name).read_bytes()
    places = range(20 if name == REST else 0, len(whole), max(len(whole) // 40, 1))
    for at in places:
        flipped = bytearray(whole)
        flipped[at] ^= 4
        for damaged in (bytes(flipped), whole[:at]):
            (run / name).write_bytes(damaged)
            for reader in (verify_run, load_run, from_journal, restore_run):
                assert f"{REST}:" in refusal(run, reader)
    (run / name).write_bytes(whole)
    verify_run(run)


@pytest.mark.fault(47)
def test_a_file_that_is_missing_or_of_another_run(run: Path, tmp_path: Path) -> None:
    compact(run)
    other = write(tmp_path / "other", KINDS["served"]())
    compact(other)
    (run / SAMPLES).write_bytes((other / SAMPLES).read_bytes())
    assert "was changed" in refusal(run)
    (run / SAMPLES).unlink()
    for reader in (verify_run, load_run):
        assert f"{SAMPLES} cannot be read" in refusal(run, reader)
    os.mkfifo(run / SAMPLES)
    assert "is a FIFO" in refusal(run)
    (run / REST).unlink()
    (run / SAMPLES).unlink()
    with pytest.raises(UsageError):
        journal_of(run)


def forge(run: Path, data: bytes) -> None:
    """Replace the Parquet file and its digest, as whoever owns the directory can."""
    head, _, frames = gzip.decompress((run / REST).read_bytes()).partition(b"\n")
    known = {**json.loads(head), "samples_sha256": hashlib.sha256(data).hexdigest()}
    (run / SAMPLES).write_bytes(data)
    (run / REST).write_bytes(gzip.compress(json.dumps(known).encode() + b"\n" + frames))


def parquet(table: Any, **options: Any) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, store_schema=False, compression="zstd", **options)
    return bytes(out.getvalue())


def test_a_forged_file_of_numbers(run: Path) -> None:
    compact(run)
    table = pq.read_table(run / SAMPLES)
    count = table.num_rows
    forge(run, parquet(table))
    verify_run(run)

    def digits(values: list[int | None]) -> Any:
        return table.set_column(5, "digits", pa.array(values, pa.int64()))

    known = table["digits"].to_pylist()
    for said, forged in {
        "do not make the journal": digits([known[0] + 1, *known[1:]]),
        "fewer numbers": table.slice(0, count - 1),
        "more numbers": pa.concat_tables([table, table.slice(0, 1)]),
        "NoneType": digits([None, *known[1:]]),
        "with a power of ten": table.set_column(6, "power", pa.array([1] * count, pa.int32())),
        "other columns": table.drop_columns(["row"]),
        "columns than samples": table.set_column(6, "power", pa.array([0] * count, pa.int64())),
        f"more than {compacted.MOST_NUMBERS} numbers": None,
    }.items():
        if forged is None:
            most = compacted.MOST_NUMBERS + 1
            one = table.slice(0, 1)
            forged = pa.table({
                name: pa.repeat(one[name][0], most) for name in one.column_names
            }, schema=one.schema)  # fmt: skip
        forge(run, parquet(forged))
        assert said in refusal(run)
    forge(run, b"PAR1 and no more PAR1")
    assert SAMPLES in refusal(run)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("import os; os.abort()", "pyarrow has ended"),
        ("bytearray(2 << 30)", "samples.parquet MemoryError"),
        ("raise ValueError('ill\\x1b')", "samples.parquet ill"),
        ("sys.stdout.buffer.write(COUNT.pack(5)); sys.exit()", "pyarrow has ended"),
        ("sys.stdout.buffer.write(COUNT.pack(1 << 30)); sys.exit()", "samples.parquet "),
    ],
)
def test_a_child_that_fails(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str, said: str
) -> None:
    compact(run)
    begin = "    arrow, parquet ="
    source = Path(parquet_numbers.__file__).read_text()
    assert source.count(begin) == 1
    (tmp_path / "child.py").write_text(source.replace(begin, f"    {instead}\n{begin}"))
    monkeypatch.setattr(parquet_numbers, "__file__", str(tmp_path / "child.py"))
    found = refusal(run)
    assert said in found
    assert "\x1b" not in found


def test_a_reader_that_stops_early_leaves_no_child(run: Path) -> None:
    compact(run)
    before = set(psutil.Process().children())  # other tests of this process may have left some
    with opened(run / REST) as lines:
        assert lines.readline()
        assert len(set(psutil.Process().children()) - before) == 1
    assert not set(psutil.Process().children()) - before


def test_the_child_takes_nothing_from_where_the_user_stands(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(run)
    for name in ("json", "struct", "pyarrow", "sitecustomize", "resource"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    verify_run(run)


def test_the_child_finds_pyarrow_where_this_process_does(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lie on PYTHONPATH, which the child does not have. What else is there hides nothing of Python."""
    compact(run)
    (tmp_path / "packages" / "pyarrow").mkdir(parents=True)
    found = tmp_path / "packages" / "pyarrow" / "__init__.py"
    found.write_text("raise ValueError('this one was found')")
    (tmp_path / "packages" / "json.py").write_text("raise SystemExit(9)")
    spec = importlib.util.spec_from_file_location("pyarrow", found)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    bare = "import sys; sys.path[:] = [one for one in sys.path if not one.endswith('-packages')]\n"
    source = Path(parquet_numbers.__file__).read_text(encoding="utf-8")
    (tmp_path / "child.py").write_text(source.replace("import json\n", f"{bare}import json\n", 1))
    monkeypatch.setattr(parquet_numbers, "__file__", str(tmp_path / "child.py"))
    assert "this one was found" in refusal(run)


def test_a_head_that_says_something_else(run: Path) -> None:
    compact(run)
    head, _, frames = gzip.decompress((run / REST).read_bytes()).partition(b"\n")
    known = json.loads(head)
    for wrong in (
        {**known, "lines": known["lines"] + 1}, {**known, "journal_bytes": 1}, {**known, "more": 1},
        {**known, "journal_sha256": None}, {**known, "journal_sha256": "0" * 64}, [], "x",
    ):  # fmt: skip
        (run / REST).write_bytes(gzip.compress(json.dumps(wrong).encode() + b"\n" + frames))
        refusal(run)
    (run / REST).write_bytes(gzip.compress(b"x" * compacted.MOST_HEAD_BYTES + b"\n"))
    refusal(run)


def test_without_pyarrow_a_run_is_listed_and_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(run)
    before = load_run(run)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert load_run(run) == before
    with pytest.raises(UsageError, match=r"inference-cost-bench\[parquet\]") as caught:
        verify_run(run)
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(UsageError, match="parquet"):
        restore_run(run)
    assert names(run) == {REST, SAMPLES, RUN_JSON, "spec.yaml"}


@pytest.mark.parametrize("undone", [False, True])
@pytest.mark.parametrize("read", [read_journal, last_digest, lambda path: records_up_to(path, None)])
def test_a_reader_that_races_a_compaction_reads_what_is_there_now(
    run: Path, read: Callable[[Path], object], undone: bool, quick: None
) -> None:
    """It has found the journal before, and opens it after the journal has another form."""
    before = read(run / JOURNAL)
    compact(run)
    found = journal_of(run) if undone else run / JOURNAL
    if undone:
        restore_run(run)
    assert not found.exists()
    assert read(found) == before


def test_a_journal_that_is_compacted_between_two_looks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(run)
    looked, real = list[str](), os.path.lexists

    def look(path: str | os.PathLike[str]) -> bool:
        looked.append(Path(path).name)
        if looked.count(REST) == 1 and looked[-1] == REST:  # undone right before the last look
            restore_run(run)
        return real(path)

    monkeypatch.setattr(journal_place.os.path, "lexists", look)
    assert journal_of(run).name == JOURNAL


def test_a_reader_keeps_what_it_has_opened(run: Path, quick: None) -> None:
    """An undoing that ends while a compacted journal is read takes nothing from its reader."""
    whole = (run / JOURNAL).read_bytes()
    compact(run)
    with opened(run / REST) as lines:
        restore_run(run)
        assert lines.read() == whole
