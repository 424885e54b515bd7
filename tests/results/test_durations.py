"""How long each row took in an earlier run: of the newest finished one of that name, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from journals import HEAD

from bench.results.durations import earlier_seconds
from bench.store.journal import Journal
from bench.store.replay import JOURNAL

Event = tuple[int, str, Mapping[str, Any]]  # second of the hour, kind, what is said


def begin(at: int, name: str, group: str = "") -> Event:
    return at, "arm", {"group": group, "name": name, "started": True}


def end(at: int, name: str, group: str = "", status: str = "ok") -> Event:
    return at, "arm", {"group": group, "name": name, "status": status, "reason": ""}


def pair(at: int, name: str, took_s: float | None) -> Event:
    unit = {"number": 1, "group": "", "variant": name, "batches": [0], "spawned_first": 0, "took_s": took_s}
    return at, "unit", unit


def write(out: Path, directory: str, *events: Event, finished: bool = True, **head: Any) -> Path:
    """A run's journal; its events come at these seconds."""
    seconds = iter([0, *(at for at, _kind, _said in events), 3599])

    def clock() -> str:
        minute, second = divmod(next(seconds), 60)
        return f"2026-01-31T12:{minute:02d}:{second:02d}Z"

    path = out / directory / JOURNAL
    path.parent.mkdir(parents=True)
    with Journal.create(path, clock) as journal:
        journal.append("run_started", {**HEAD, "run_id": directory, "name": "demo", **head})
        for _at, kind, said in events:
            journal.append(kind, said)
        if finished:
            journal.append("run_finished", {})
    return path


def test_seconds_from_begin_to_end_of_every_row(tmp_path: Path) -> None:
    write(
        tmp_path, "20260131-1",
        begin(5, "baseline"), end(65, "baseline"),
        begin(65, "v", "batch_size=8"), end(95, "v", "batch_size=8", "timeout"),
    )  # fmt: skip
    assert earlier_seconds(tmp_path, "demo") == {"baseline": 60.0, "batch_size=8 v": 30.0}


def test_rows_that_run_at_the_same_time(tmp_path: Path) -> None:
    write(tmp_path, "1", begin(0, "a"), begin(10, "b"), end(40, "a"), end(90, "b"))
    assert earlier_seconds(tmp_path, "demo") == {"a": 40.0, "b": 80.0}


def test_what_else_a_row_records_is_neither_begin_nor_end(tmp_path: Path) -> None:
    more = (20, "arm", {"group": "", "name": "a", "solo": []})
    write(tmp_path, "1", begin(0, "a"), more, pair(25, "a", 4), end(30, "a"))
    assert earlier_seconds(tmp_path, "demo") == {"a": 30.0}


def test_further_pairs_come_after_the_end_of_a_row(tmp_path: Path) -> None:
    """Rows get them in turn, and a row that fails in one of them ends again."""
    write(
        tmp_path, "1", begin(0, "a"), pair(25, "a", 4), end(30, "a"), begin(30, "b"), end(50, "b"),
        pair(57, "a", 7.5), pair(62, "b", 5), pair(70, "a", 8), end(71, "a", status="timeout"),
    )  # fmt: skip
    assert earlier_seconds(tmp_path, "demo") == {"a": 45.5, "b": 25.0}


def test_a_pair_without_its_time_takes_none(tmp_path: Path) -> None:
    """The schema allows null there, and `bench run` ended in a traceback because of a run that lay beside."""
    write(tmp_path, "1", begin(0, "a"), end(30, "a"), pair(40, "a", None))
    assert earlier_seconds(tmp_path, "demo") == {"a": 30.0}


def test_an_attempt_that_was_begun_again_counts_from_there(tmp_path: Path) -> None:
    """An hour of waiting for --resume is no measuring."""
    write(tmp_path, "1", begin(0, "a"), begin(3000, "a"), end(3030, "a"))
    assert earlier_seconds(tmp_path, "demo") == {"a": 30.0}


def test_a_row_that_has_no_begin_or_no_end_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "1", begin(0, "a"), end(10, "a"), end(20, "b"), begin(30, "c"))
    assert earlier_seconds(tmp_path, "demo") == {"a": 10.0}


@pytest.mark.fault(19)
def test_a_row_that_ends_before_it_begins_is_left_out(tmp_path: Path) -> None:
    """The wall clock was set back meanwhile; only this estimate knows of that clock."""
    write(tmp_path, "1", begin(100, "a"), end(40, "a"), begin(40, "b"), end(60, "b"))
    assert earlier_seconds(tmp_path, "demo") == {"b": 20.0}


def test_the_newest_run_of_that_name_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "20260131-1", begin(0, "a"), end(10, "a"))
    write(tmp_path, "20260131-2", begin(0, "a"), end(20, "a"))
    write(tmp_path, "20260131-3", begin(0, "a"), end(30, "a"), name="other")
    assert earlier_seconds(tmp_path, "demo") == {"a": 20.0}
    assert earlier_seconds(tmp_path, "other") == {"a": 30.0}


@pytest.mark.parametrize(
    ("finished", "head"), [(False, {}), (True, {"gate": {"mode": "code"}})], ids=["cut short", "a gate"]
)
def test_what_is_no_finished_run_is_passed_over(
    tmp_path: Path, finished: bool, head: Mapping[str, Any]
) -> None:
    write(tmp_path, "20260131-1", begin(0, "a"), end(10, "a"))
    write(tmp_path, "20260131-2", begin(0, "a"), end(20, "a"), finished=finished, **head)
    assert earlier_seconds(tmp_path, "demo") == {"a": 10.0}


def test_a_broken_journal_is_an_estimate_less(tmp_path: Path) -> None:
    write(tmp_path, "20260131-1", begin(0, "a"), end(10, "a"))
    path = write(tmp_path, "20260131-2", begin(0, "a"), end(20, "a"))
    path.write_bytes(path.read_bytes().replace(b'"status":"ok"', b'"status":"no"'))
    assert earlier_seconds(tmp_path, "demo") == {"a": 10.0}


def test_no_earlier_run(tmp_path: Path) -> None:
    assert earlier_seconds(tmp_path, "demo") == earlier_seconds(tmp_path / "nowhere", "demo") == {}
