"""Whole runs under faults of docs/reliability.md: memory, disk and clock fail for real where a test can make
them, and nothing that was closed is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fakes import fake_runtime, said
from small_runs import command, small_config

from bench.config.reader import read_config
from bench.errors import ExitCode, JournalFailed
from bench.measure import worker_process
from bench.measure.events import Event
from bench.results.durations import earlier_seconds
from bench.results.verify import verify_run
from bench.runs import run as harness
from bench.runs.gate import Plan, gate_spec
from bench.runs.run import run_spec
from bench.store import files, journal
from bench.store.journal import read_journal
from bench.store.replay import load_record

__all__ = ["fake_runtime"]  # a fixture
pytestmark = pytest.mark.usefixtures("fake_runtime")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "GRACE_S", 5.0)
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)


def measured(file: Path, out: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    """The directory of a run, which verifies, and its ``run.json``."""
    directory = run_spec(read_config(file), out, **more)
    verify_run(directory)
    return directory, json.loads((directory / "run.json").read_text())


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["status"] for row in found["variants"]}


def only(out: Path) -> Path:
    (directory,) = out.iterdir()
    return directory


def figures(found: dict[str, Any]) -> list[tuple[object, ...]]:
    """What follows from the data of the fake engine, whatever the machine does."""
    return [
        (one["variant"], one["metric"], one["ratio"], one["ci_low"], one["pairs"])
        for one in found["comparisons"]
        if one["metric"] in ("tpot_ms", "ttft_ms", "e2el_ms")
    ]


# ---- memory ------------------------------------------------------------------------------------------


@pytest.mark.fault(1)
def test_a_worker_that_eats_all_memory_ends_its_own_row(tmp_path: Path) -> None:
    """The kernel gives it no more than the limit of its config; the rows beside it are whole."""
    eats = ({"at": "prefill", "do": "eat"},)
    file = small_config(
        tmp_path / "c", {"before": (), "eats": eats, "after": ()}, measure={"memory_limit": "400MiB"}
    )
    _directory, found = measured(file, tmp_path / "out")
    assert statuses(found) == {"baseline": "ok", "before": "ok", "eats": "oom_host", "after": "ok"}
    assert "measure.memory_limit is 400 MiB" in found["variants"][2]["reason"]
    assert {one["variant"] for one in found["comparisons"]} == {"before", "after"}


@pytest.mark.fault(2)
def test_a_gpu_without_memory_ends_its_own_row(tmp_path: Path) -> None:
    """What the driver says of the memory is kept; the next row has a process of its own."""
    words = "CUDA out of memory. Tried to allocate 2.00 GiB; 23.5 GiB in total, of which 21.9 GiB are in use"
    full = ({"at": "prefill", "do": "raise", "kind": "OutOfMemoryError", "text": words},)
    _directory, found = measured(small_config(tmp_path / "c", {"full": full, "next": ()}), tmp_path / "out")
    assert statuses(found) == {"baseline": "ok", "full": "oom_gpu", "next": "ok"}
    assert "21.9 GiB are in use" in found["variants"][1]["reason"]


@pytest.mark.fault(3)
def test_the_last_words_of_a_crash_are_in_its_row_and_cut(tmp_path: Path) -> None:
    talks = [{"at": "load", "do": "progress", "text": "x"}, {"at": "load", "do": "segfault"}]
    _directory, found = measured(small_config(tmp_path / "c", {"dies": tuple(talks)}), tmp_path / "out")
    assert statuses(found)["dies"] == "segfault"
    assert "SIGSEGV" in found["variants"][1]["reason"]
    assert len(found["variants"][1]["reason"]) < 600


@pytest.mark.fault(5)
def test_a_gate_whose_worker_hangs_has_no_verdict(tmp_path: Path) -> None:
    """The unit does not count, and those before it are kept."""
    hangs = ({"at": "prefill", "call": 3, "do": "hang"},)
    limits = {"cost_per_request_usd": {"max_increase": "3%"}}
    file = small_config(tmp_path / "c", {"v": hangs}, gate=limits, measure={"timeout_s": 2.0})
    directory = gate_spec(read_config(file), tmp_path / "out", Plan(batches=2))
    gate = json.loads((directory / "run.json").read_text())["gate"]
    assert (gate["verdict"], gate["exit_code"]) == ("ERROR", ExitCode.FAILED)
    assert "timeout" in gate["rules"][0]["reason"]
    assert load_record(directory).units == ()


# ---- disk --------------------------------------------------------------------------------------------


def stopped_by_the_disk(file: Path, out: Path, done: subprocess.CompletedProcess[str], words: str) -> None:
    """Exit code 5 and one message with the journal's name; the records before are whole, and it goes on."""
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "journal.jsonl" in done.stderr
    assert words in done.stderr
    directory = only(out)
    assert list(directory.glob("*.tmp")) == []
    if (directory / "run.json").exists():  # a small one may still have had its place: whole
        verify_run(directory)
    assert {arm.name for arm in load_record(directory).arms} >= {"baseline"}
    again = subprocess.run(
        command("run", file, "--out", out, "--resume", directory, "-q"),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert again.returncode == ExitCode.OK, again.stderr
    verify_run(directory)


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A config, and the bytes of its journal up to the end of the second row of three."""
    place = tmp_path_factory.mktemp("wordy")
    many = {"name": "chat", "requests": 120, "output_tokens": 40}  # so that a row fills many pages
    file = small_config(place / "c", {"a": (), "b": ()}, workload=many)
    subprocess.run(command("run", file, "--out", place / "before", "-q"), check=True, timeout=120)
    directory = only(place / "before")
    lines = (directory / "journal.jsonl").read_bytes().splitlines(keepends=True)
    records = read_journal(directory / "journal.jsonl").records
    begun = next(n for n, one in enumerate(records) if one.get("name") == "b" and one.get("started"))
    return file, sum(map(len, lines[:begun])) + 300


@pytest.mark.fault(11)
def test_a_file_that_may_not_grow_stops_the_run(tmp_path: Path, wordy: tuple[Path, int]) -> None:
    """The kernel refuses to write beyond the limit of the process, as a full disk does."""
    file, room = wordy
    done = subprocess.run(
        command("run", file, "--out", tmp_path / "out", "-q"),
        capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )  # fmt: skip
    stopped_by_the_disk(file, tmp_path / "out", done, "File too large")


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    trial = "mount -t tmpfs -o size=64k tmpfs /mnt"
    return (
        subprocess.run(["unshare", "-m", "sh", "-c", trial], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.fault(11)
@pytest.mark.skipif(not may_mount(), reason="may not mount a small disk here")
def test_a_full_disk_stops_the_run(tmp_path: Path, wordy: tuple[Path, int]) -> None:
    """A disk of a few pages, which only this command sees; what is on it is copied out before it goes."""
    file, room = wordy
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    script = (
        'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99; place=$2; to=$3; shift 3; '
        '"$@"; code=$?; cp -r "$place" "$to"; exit $code'
    )
    pages = -(-room // os.sysconf("SC_PAGE_SIZE")) + 8
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(pages * os.sysconf("SC_PAGE_SIZE")), str(small),
         str(out), *command("run", file, "--out", small, "-q")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    stopped_by_the_disk(file, out, done, "No space left on device")


@pytest.mark.fault(11)
def test_a_run_does_not_go_on_where_only_small_records_still_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that was measured and could not be kept has not failed; rows after it would be lost too."""
    file = small_config(tmp_path / "c", {"a": (), "b": ()})

    def hardly(fd: int, data: bytes) -> None:
        if b'"name":"a"' in data and b'"solo":' in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        files.write_all(fd, data)

    monkeypatch.setattr(journal, "write_all", hardly)
    log: list[tuple[str, str]] = []
    with pytest.raises(JournalFailed, match="No space left"):
        run_spec(read_config(file), tmp_path / "out", tell=lambda event: log.append(said(event)))
    assert {who for who, _what in log} == {"baseline", "a"}
    monkeypatch.setattr(journal, "write_all", files.write_all)
    assert [arm.status for arm in load_record(only(tmp_path / "out")).arms] == ["ok", "interrupted"]
    _again, found = measured(file, tmp_path / "out", resume=only(tmp_path / "out"))
    assert set(statuses(found).values()) == {"ok"}


@pytest.mark.fault(12)
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_to_sync_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    file = small_config(tmp_path / "c", {"a": (), "b": ()})
    sync = os.fsync

    def fails(fd: int) -> None:
        raise OSError(error, os.strerror(error))

    def tell(event: Event) -> None:
        if said(event) == ("b", "load"):
            monkeypatch.setattr(os, "fsync", fails)

    with pytest.raises(JournalFailed, match=f"cannot sync .*journal.jsonl: {os.strerror(error)}") as stopped:
        run_spec(read_config(file), tmp_path / "out", tell=tell)
    monkeypatch.setattr(os, "fsync", sync)
    assert stopped.value.exit_code == ExitCode.FAILED
    directory = only(tmp_path / "out")
    assert [arm.status for arm in load_record(directory).arms][:2] == ["ok", "ok"]
    _again, found = measured(file, tmp_path / "out", resume=directory)
    assert set(statuses(found).values()) == {"ok"}


@pytest.mark.fault(13)
@pytest.mark.parametrize("lost", [1, 200])
def test_a_torn_last_line_is_said_and_its_row_is_done_again(tmp_path: Path, lost: int) -> None:
    file = small_config(tmp_path / "c", {"a": (), "b": ()})
    directory, before = measured(file, tmp_path / "out")
    path = directory / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"status":"ok"' in line)
    path.write_bytes(b"".join(lines[: last + 1])[:-lost])
    (directory / "run.json").unlink()
    assert "dropped a torn last line" in " ".join(load_record(directory).notices)
    log: list[tuple[str, str]] = []
    _again, found = measured(
        file, tmp_path / "out", resume=directory, tell=lambda event: log.append(said(event))
    )
    assert {who for who, what in log if what == "load"} == {"b"}
    assert figures(found) == figures(before)
    assert found["status"] == "ok"


# ---- clock and reports -------------------------------------------------------------------------------


@pytest.mark.fault(19)
def test_a_wall_clock_that_jumps_a_day_changes_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small_config(tmp_path / "c", {"a": ()})
    _directory, before = measured(file, tmp_path / "before")
    asked = count()

    def jumps() -> str:
        """A day later from the fourth question on, and a day earlier from the eighth on."""
        number = next(asked)
        days = 1 if 4 <= number < 8 else -1 if number >= 8 else 0
        return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")

    monkeypatch.setattr(harness, "utc_now", jumps)
    directory, found = measured(file, tmp_path / "after")
    assert figures(found) == figures(before)
    notes = verify_run(directory)
    assert "the wall clock was set" in notes
    assert "the wall clock was set back by 1728" in notes
    assert all(seconds >= 0 for seconds in earlier_seconds(tmp_path / "after", "small").values())


@pytest.mark.fault(34)
def test_a_report_that_cannot_be_written_costs_no_figure(tmp_path: Path) -> None:
    """It is said, the run stays as it was, and the report is made elsewhere later."""
    directory, _found = measured(small_config(tmp_path / "c", {"a": ()}), tmp_path / "out")
    before = (directory / "run.json").read_bytes()
    for place in ("/dev/full", directory / "run.json" / "report.html"):
        arguments = command("report", directory, "--format", "html", "-o", place)
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == ExitCode.USAGE
        assert f"cannot write {place}" in done.stderr
    assert (directory / "run.json").read_bytes() == before
    arguments = command("report", directory, "--format", "html", "-o", tmp_path / "report.html")
    assert subprocess.run(arguments, capture_output=True, timeout=60, check=False).returncode == ExitCode.OK
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
