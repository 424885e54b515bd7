"""The index of runs: it says what the runs say, today's files always win, and it is never needed."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import many_runs
import pytest
from journals import write_run
from tampering import tampered_journal, tampered_summary

from bench.errors import BenchError, UsageError
from bench.results import index as index_module
from bench.results import index_entry, index_listing
from bench.results.index import Index, one_by_one
from bench.results.index_listing import Listing, begin_listing, listing_of
from bench.results.index_query import SORTS, Wanted
from bench.results.index_records import UNREADABLE, IndexedRun, files_of
from bench.results.index_schema import SCHEMA
from bench.results.run_summary import RunStatus
from bench.results.summary import RUN_JSON, load_run, sealed
from bench.results.verify import verify_run
from bench.serving import record
from bench.store.index_file import INDEX, read_database, write_database
from bench.store.replay import JOURNAL

ALL = Wanted()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("written")
    many_runs.write_runs(place, 24)
    return place


@pytest.fixture
def out(written: Path, tmp_path: Path) -> Path:
    """A copy of the same 24 runs for each test."""
    return shutil.copytree(written, tmp_path / "results")


class Reading:
    """Reads directories, and remembers which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, directories: Sequence[bytes]) -> list[IndexedRun]:
        self.read += [Path(os.fsdecode(one)).name for one in directories]
        return list(one_by_one(directories))


def shown(out: Path, wanted: Wanted = ALL) -> list[IndexedRun]:
    return Index(out).runs(wanted)


def test_many_runs_are_honest(out: Path) -> None:
    for directory in sorted(out.iterdir())[:12]:
        assert "the summary of the journal, figure by figure" in verify_run(directory)


def test_it_says_what_the_runs_say(out: Path) -> None:
    found = shown(out)
    assert len(found) == 24
    for one in found:
        run = load_run(out / os.fsdecode(one.place))
        assert (one.run_id, one.started, one.finished) == (run.run_id, run.started_utc, run.finished_utc)
        assert (one.status, json.loads(one.price)) == (run.status, run.price)
        assert one.machine.startswith(run.machine["cpu_model"])
        for row, theirs in zip(one.rows, run.rows, strict=True):
            paid, ratio = (
                theirs.figure("cost_per_1k_tokens_usd"),
                run.comparison(theirs, "cost_per_1k_tokens_usd"),
            )
            assert (row.title, row.status, row.is_baseline) == (
                theirs.title,
                theirs.status,
                theirs.is_baseline,
            )
            assert (row.cost, row.cost_low) == (paid and paid.value, paid and paid.ci_low)
            assert (row.ratio, row.ratio_high) == (ratio and ratio.ratio, ratio and ratio.ci_high)


def test_the_second_time_nothing_is_read(out: Path) -> None:
    first, second = Reading(), Reading()
    before = Index(out, first).runs(ALL)
    assert len(first.read) == 24
    assert Index(out, second).runs(ALL) == before
    assert second.read == []


def test_what_is_new_changed_or_gone_since(out: Path) -> None:
    shown(out)
    names = sorted(path.name for path in out.iterdir() if path.is_dir())
    shutil.rmtree(out / names[0])
    (out / names[1] / RUN_JSON).unlink()
    os.utime(out / names[2] / RUN_JSON, (1, 1))
    many_runs.write_one(out, 999, many_runs.kinds(2)[0])
    reading = Reading()
    found = [os.fsdecode(run.place) for run in Index(out, reading).runs(ALL)]
    assert names[0] not in found
    assert len(found) == 24
    assert {names[1], names[2]} < set(reading.read)
    assert len(reading.read) == 3


def test_a_run_that_is_written_anew_is_seen_though_it_is_not_shown(out: Path) -> None:
    """It may have become one of those that are shown, and counts in any case."""
    oldest = shown(out)[-1].place
    directory = out / os.fsdecode(oldest)
    (directory / "new").write_text("[]")
    (directory / "new").rename(directory / RUN_JSON)
    reading = Reading()
    index = Index(out, reading)
    assert [run.place for run in index.runs(Wanted(most=1))] != [oldest]
    assert reading.read == [directory.name]
    assert index.count(Wanted(status=UNREADABLE)) == 1


def test_nothing_is_compared_one_by_one_while_no_directory_has_changed(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shown(out)
    (out / "a file").write_text("no run, but another name in the directory")
    assert shown(out) == before

    def unexpected(*_: object) -> None:
        raise AssertionError("compared")

    monkeypatch.setattr(Listing, "differing", unexpected)
    assert shown(out) == before
    (out / "a file").write_text("changed: it is no directory")
    assert shown(out) == before
    many_runs.write_one(out, 999, many_runs.kinds(2)[0])
    with pytest.raises(AssertionError, match="compared"):
        shown(out)


def test_a_directory_that_changes_while_it_is_read_is_read_again(out: Path) -> None:
    """The digest of the change times is kept only if each directory was read in the state that was listed."""

    class Disturbed(Reading):
        def __call__(self, directories: Sequence[bytes]) -> list[IndexedRun]:
            if not self.read:  # between the listing and the reading
                (out / os.fsdecode(names[0]) / "new").write_text("x")
            found = super().__call__(directories)
            (out / os.fsdecode(names[1]) / RUN_JSON).unlink()  # after the reading
            return found

    names = sorted(os.fsencode(path.name) for path in out.iterdir())
    Index(out, Disturbed())
    (out / os.fsdecode(names[2]) / "new").write_text("x")
    reading = Reading()
    Index(out, reading)
    assert sorted(reading.read) == [os.fsdecode(name) for name in names[1:3]]


@pytest.mark.parametrize("ends_early", [False, True])
def test_a_process_beside_this_one_makes_the_listing(
    out: Path, monkeypatch: pytest.MonkeyPatch, ends_early: bool
) -> None:
    if ends_early:
        monkeypatch.setattr(index_listing, "_send", lambda *_: os._exit(1))
    children, fork = list[int](), os.fork

    def counted() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", counted)
    empty, broken = out / "empty", out.parent / "broken"
    for directory in (empty, broken):
        directory.mkdir()
    (broken / "nowhere").symlink_to("gone")
    for directory in (out, empty, broken):
        assert begin_listing(directory)() == listing_of(directory)
    assert len(listing_of(out).names.split(b"/")) == 25
    monkeypatch.setattr("bench.results.index.MANY_BYTES", 0)
    before = shown(out)
    many_runs.write_one(out, 999, many_runs.kinds(2)[0])
    shutil.rmtree(out / os.fsdecode(before[0].place))
    (out / os.fsdecode(before[1].place) / "new").write_text("x")
    reading = Reading()
    found = Index(out, reading).runs(ALL)
    assert len(reading.read) == 2
    assert {run.place for run in before} - {run.place for run in found} == {before[0].place}
    assert Index(out).runs(ALL) == found
    assert len(children) > 3
    for child in children:  # none is left
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def test_a_file_in_the_place_of_a_run_is_no_run(out: Path) -> None:
    oldest = out / os.fsdecode(shown(out)[-1].place)
    shutil.rmtree(oldest)
    oldest.write_text("x")
    assert len(shown(out)) == 23
    assert len(shown(out)) == 23


def test_an_edit_in_place_with_the_old_times_is_seen(out: Path) -> None:
    (newest, *_) = shown(out)
    path = out / os.fsdecode(newest.place) / RUN_JSON
    before = path.stat()
    with path.open("r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(content.replace(b"12:", b"13:", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    found = {run.place: run for run in shown(out)}[newest.place]
    assert found.status == UNREADABLE
    assert "was changed after it was written" in found.why


def test_a_run_that_is_being_measured_is_read_each_time(out: Path) -> None:
    directory = write_run(out / "20270101-000000-now")
    (directory / RUN_JSON).unlink()
    whole = (directory / JOURNAL).read_bytes().splitlines(keepends=True)
    (directory / JOURNAL).write_bytes(b"".join(whole[:8]))
    unfinished = {run.place: run for run in shown(out)}[b"20270101-000000-now"]
    assert unfinished.finished is None
    with (directory / JOURNAL).open("ab") as file:
        file.write(b"".join(whole[8:]))
    assert {run.place: run for run in shown(out)}[b"20270101-000000-now"].finished is not None


@pytest.mark.parametrize("tamper", [tampered_journal, tampered_summary], ids=lambda one: one.__name__)
def test_runs_that_somebody_edited(tmp_path: Path, tamper: object) -> None:
    """Each is what ``load_run`` says, or unreadable with what it says."""
    draw = random.Random(5)
    for number in range(40):
        tamper(write_run(tmp_path / f"{number:02}"), draw)  # type: ignore[operator]
    for run in shown(tmp_path):
        assert (run.status, run.run_id) in may_be(tmp_path / os.fsdecode(run.place))


def may_be(directory: Path) -> set[tuple[str, str]]:
    """What a list may say of a run. What is wrong may be in a part that no list reads."""
    try:
        found = load_run(directory)
    except BenchError:
        return {(UNREADABLE, ""), *((str(status), "run-1") for status in RunStatus)}
    return {(str(found.status), found.run_id)}


def test_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "nowhere").symlink_to("gone")
    load = tmp_path / "load"
    load.mkdir()
    (load / record.JOURNAL).write_text("{}\n")
    (load / record.SUMMARY).write_text("{}")
    other = tmp_path / "load-of-somebody-else"
    other.mkdir()
    (other / record.JOURNAL).write_text("{}\n")
    os.mkfifo(other / record.SUMMARY)
    assert index_entry.LOAD_JSON == record.SUMMARY
    assert [run.place for run in shown(tmp_path)] == [b"run"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "run").rename(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff\n"))
    assert [run.place for run in shown(tmp_path)] == [b"run-\xff\n"]


# ---- an index that is not ours ------------------------------------------------------------------------


def test_an_index_that_came_with_its_runs_is_not_believed(out: Path, tmp_path: Path) -> None:
    """Even with sound tables: the times of change of the files are the kernel's, and no archive has them."""
    shown(out)
    _doctor(out, "UPDATE rows SET cost = 1e-9")
    copy = tmp_path / "copy"
    shutil.copytree(out, copy, copy_function=shutil.copy2)
    assert min(row.cost or 1 for run in shown(copy) for row in run.rows) > 1e-8


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE runs SET files = 'x'",
        "UPDATE runs SET changed_ns = changed_ns + 1",
        "UPDATE runs SET price = 99",
        "DELETE FROM runs WHERE id % 2",
        "INSERT INTO runs SELECT id + 100, x'61', changed_ns, files, status, why, journal_sha256, "
        "run_id, name, started, finished, verdict, models, machine, 1, 1, price FROM runs LIMIT 1",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2",
        "DROP TABLE rows",
    ],
)
def test_a_wrong_index_is_made_again(out: Path, sql: str) -> None:
    right = shown(out)
    _doctor(out, sql)
    assert shown(out) == right


@pytest.mark.fault(18)
def test_a_damaged_index_is_made_again(out: Path) -> None:
    right, draw = shown(out), random.Random(3)
    sound = (out / INDEX).read_bytes()
    for _ in range(25):
        data = bytearray(sound)
        for _ in range(draw.randint(1, 40)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (out / INDEX).write_bytes(data)
        assert shown(out) == right
    (out / INDEX).write_bytes(sound[:5000])
    assert shown(out) == right


def _doctor(out: Path, sql: str) -> None:
    database = read_database(out, SCHEMA)
    database.executescript(sql)
    assert write_database(out, database)


def test_without_a_place_to_keep_it_everything_is_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.results.index.write_database", lambda *_: False)
    reading = Reading()
    for _ in range(2):
        assert len(Index(out, reading).runs(ALL)) == 24
    assert len(reading.read) == 48
    assert not (out / INDEX).exists()


def test_two_at_once(out: Path) -> None:
    """Each has a whole index, and whoever writes last leaves a whole one."""
    first = Index(out)
    many_runs.write_one(out, 500, many_runs.kinds(2)[0])
    second = Index(out)
    assert (len(first.runs(ALL)), len(second.runs(ALL))) == (24, 25)
    assert len(shown(out)) == 25


def test_who_interrupts_the_first_reading_does_not_begin_anew(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.results.index.AT_ONCE", 10)

    class Impatient(Reading):
        def __call__(self, directories: Sequence[bytes]) -> list[IndexedRun]:
            if len(self.read) == 20:
                raise KeyboardInterrupt
            return super().__call__(directories)

    with pytest.raises(KeyboardInterrupt):
        Index(out, Impatient())
    again = Reading()
    assert len(Index(out, again).runs(ALL)) == 24
    assert len(again.read) == 4


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a directory of runs"):
        Index(tmp_path / "gone")


# ---- filters and orders, held against a plain loop ---------------------------------------------------


def cheapest(run: IndexedRun, part: str = "") -> float | None:
    costs = [row.cost for row in run.rows if row.status == "ok" and row.cost and part in row.steps]
    return min(costs, default=None)


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Wanted(model="MODEL-1"), lambda run: "model-1" in run.models),
        (Wanted(machine="fake 1"), lambda run: "fake 1" in run.machine),
        (Wanted(scheme="Magnitude"), lambda run: any("magnitude" in row.steps for row in run.rows)),
        (Wanted(scheme="50%'; DROP TABLE runs; --"), lambda run: False),
        (Wanted(status="partial"), lambda run: run.status == "partial"),
        (Wanted(status="PASS"), lambda run: run.verdict == "PASS"),
        (Wanted(since="2026-01-31", until="2026-01-31"), lambda run: run.started[:10] == "2026-01-31"),
        (Wanted(since="2026-02-01"), lambda run: False),
        (Wanted(max_cost=2e-4), lambda run: (cheapest(run) or 1) <= 2e-4),
        (Wanted(max_cost=3e-4, scheme="prune"), lambda run: (cheapest(run, "prune") or 1) <= 3e-4),
    ],
)
def test_a_filter_finds_what_a_loop_finds(out: Path, wanted: Wanted, is_wanted: object) -> None:
    index = Index(out)
    expected = [run for run in index.runs(ALL) if is_wanted(run)]  # type: ignore[operator]
    assert index.runs(wanted) == expected
    assert index.count(wanted) == len(expected)


def test_runs_one_by_one_are_the_same(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "AT_A_TIME", 5)
    found = Index(out)
    for sort in SORTS:
        assert list(found.each(Wanted(sort=sort, most=17))) == found.runs(Wanted(sort=sort, most=17))
    every = found.runs(ALL)
    begun = found.each(ALL)
    assert next(begun) == every[0]
    found._database.execute("DELETE FROM rows")
    found._database.execute("DELETE FROM runs WHERE place = ?", (every[20].place,))
    rest = list(begun)
    assert [run.place for run in rest] == [run.place for run in every[1:] if run is not every[20]]
    assert (len(rest[0].rows), len(rest[-1].rows)) == (len(every[1].rows), 0), "the first five were read"


def test_an_index_that_breaks_in_the_middle_is_made_anew(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "AT_A_TIME", 5)
    found = Index(out)
    every, begun = found.runs(ALL), found.each(ALL)
    assert next(begun) == every[0]
    found._database.execute("DROP TABLE rows")
    assert list(begun) == every[1:]


def test_orders(out: Path) -> None:
    index = Index(out)
    every = index.runs(ALL)
    assert [run.started for run in every] == sorted((run.started for run in every), reverse=True)
    for part in ("", "prune", "MAGNITUDE"):
        ordered = index.runs(Wanted(sort="cost", scheme=part or None))
        by_cost = [cheapest(run, part.lower()) for run in ordered]
        assert by_cost == sorted(by_cost, key=lambda cost: (cost is None, cost))
        assert len(by_cost) > 20
    for sort in SORTS:
        found = index.runs(Wanted(sort=sort))
        assert sorted(run.place for run in found) == sorted(run.place for run in every)
        assert index.runs(Wanted(sort=sort, most=5)) == found[:5]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(sort="costs"), r"cannot sort by 'costs' \(did you mean 'cost'\?\)"),
        (Wanted(since="yesterday"), "--since: 'yesterday' is not a day"),
        (Wanted(until="2026-02-30"), "--until: '2026-02-30' is not a day"),
        (Wanted(status="failed"), "no status called 'failed'"),
    ],
)
def test_what_cannot_be_asked(out: Path, wanted: Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Index(out).runs(wanted)


def test_many_runs_in_little_time(tmp_path: Path) -> None:
    """Ten times what it takes: to read them once, and to list them again."""
    many_runs.write_runs(tmp_path, 300)
    began = time.process_time()
    Index(tmp_path).runs(replace(ALL, most=50))
    assert time.process_time() - began < 4.5
    began = time.process_time()
    Index(tmp_path).runs(replace(ALL, most=50))
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("where", ["source", "note", "steps", "device"])
def test_a_run_with_a_text_without_end(tmp_path: Path, where: str) -> None:
    """It is listed, cut or as unreadable, and hides no other run."""
    write_run(tmp_path / "sound")
    path = write_run(tmp_path / "long") / RUN_JSON
    content = json.loads(path.read_text())
    del content["seal"]
    long = "x" * 3_000_000
    if where in ("source", "note"):
        content["price"][where] = long
    elif where == "steps":
        content["variants"][1]["optimisations"] = [long]
    else:
        content["variants"][1]["facts"]["device"] = long
    path.write_text(json.dumps(dict(sealed(content, path.parent / JOURNAL))))
    found = {run.place: run for run in shown(tmp_path)}
    assert found[b"sound"].status == "ok"
    assert found[b"long"].status == (UNREADABLE if where in ("source", "note") else "ok")
    assert (tmp_path / INDEX).stat().st_size < 1_000_000


def test_a_change_in_the_same_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    """A kernel writes times of a tick of some milliseconds: a second change within it left no trace."""
    run = tmp_path / "run"
    run.mkdir()
    for number in range(30):
        (run / JOURNAL).write_bytes(b"%06d" % number)
        known = index_entry.read_run(os.fsencode(run))
        (run / JOURNAL).write_bytes(b"%06d" % (number + 1))
        assert files_of(os.fsencode(run)) != known.files, number
        known = index_entry.read_run(os.fsencode(run))
        (run / str(number)).touch()
        assert run.stat().st_ctime_ns != known.changed_ns, number


def test_a_run_is_read_once_its_last_change_is_older_than_a_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels since 6.13 give finer times, so what others do is played here."""
    changed, waited = index_entry.changed_ns(os.fsencode(tmp_path)), list[int]()
    passed = iter([0, 10_000_000, 12_000_000])

    def present() -> int:
        waited.append(next(passed))
        return changed + waited[-1]

    monkeypatch.setattr(index_entry, "_present_ns", present)
    index_entry.read_run(os.fsencode(tmp_path))
    assert waited == [0, 10_000_000, 12_000_000]


def test_a_run_that_never_settles_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one from a machine whose clock is ahead."""
    monkeypatch.setattr(index_entry, "_present_ns", lambda: 0)
    monkeypatch.setattr(index_entry, "TICK_S", 0.001)
    assert index_entry.read_run(os.fsencode(tmp_path)).status == ""
