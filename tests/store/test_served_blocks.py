"""What a journal keeps of servers, edited and chained again: refused with its key, in little time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rich_runs
from tampering import rechained, records_of

from bench.errors import IntegrityError
from bench.records import SaidTexts
from bench.results.summary import RUN_JSON, from_journal
from bench.serving import record
from bench.serving.load_verification import is_load, verify_load
from bench.store.journal_limits import (
    MOST_CELLS,
    MOST_TOKENS,
    must_be_modest,
    weight_of_row,
    weight_of_unit,
)
from bench.store.replay import JOURNAL
from bench.store.served_blocks import MOST_REQUEST
from bench.store.values import MOST_REPLY

Edit = Callable[[dict[str, Any]], object]
SAMPLE = ("loads", 0, "samples", 1)


def at(*path: str | int, value: Any) -> Edit:
    """Put ``value`` in the place of what is there."""

    def edit(found: dict[str, Any]) -> None:
        holder: Any = found
        for part in path[:-1]:
            holder = holder[part]
        _known = holder[path[-1]]
        holder[path[-1]] = value

    return edit


def edited(directory: Path, edit: Edit) -> Path:
    """Apply an edit to the first record of a journal that it fits."""
    records = records_of(directory)
    for found in records:
        try:
            edit(found)
        except (KeyError, IndexError, TypeError):
            continue
        break
    else:
        raise AssertionError("no record has such a place")
    rechained(directory, records)
    (directory / RUN_JSON).unlink(missing_ok=True)
    return directory


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (at(*SAMPLE, "tokens", value=[1]), "should have a number of tokens for each event"),
        (at(*SAMPLE, "tokens", value=[1, 10**12, 1, 1]), r"tokens\.1: Input should be less"),
        (at(*SAMPLE, "tokens", value=[1, 1, -1, 1]), r"tokens\.2: Input should be greater"),
        (at(*SAMPLE, "tokens", value=[0, 1, 1, 1]), r"tokens\.0: Input should be greater than or equal to 1"),
        (at(*SAMPLE, "events_ns", value=[]), "should have a number of tokens"),
        (at(*SAMPLE, "end_ns", value=0), "should be sent before its first event"),
        (at(*SAMPLE, "sent_ns", value=10**17), "should be sent before its first event"),
        (at(*SAMPLE, "status", value="fine"), r"status: Input should be 'ok'"),
        (at("loads", 0, "client", "late_p99_ms", value=1e308), "client.late_p99_ms"),
        (at("loads", 0, "search", value={"holds": "x", "steps": [], "why": ""}), r"search\.holds"),
        (at("server", "pinned", value={"server": 5, "client": [1]}), r"server\.pinned\.server"),
        (at("server", "ready_s", value="soon"), r"server\.ready_s"),
        (at("said", 0, "variant", value="x" * (MOST_REPLY + 1)), r"said\.0\.variant: String should have at"),
        (at("workload", value={"batch_size": 10**9}), r"workload\.batch_size"),
    ],
)
def test_a_server_that_was_edited(tmp_path: Path, edit: Edit, said: str) -> None:
    run = edited(rich_runs.write(tmp_path / "run", rich_runs.served()), edit)
    with pytest.raises(IntegrityError, match=said):
        from_journal(run)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (at("head", "workload", value=[]), r":1: head\.workload"),
        (at("head", "settings", value={"prefix_caching": "yes"}), r":1: head\.settings\.prefix_caching"),
        (at("head", "search", value={"holds": 1.0, "steps": [{}], "why": ""}), r"head\.search\.steps\.0"),
        (at("head", "prefix_cache", value={"hits": 1}), r"head\.prefix_cache\.queries"),
        (at("price", "utilisation", value="x"), r":1: price\.utilisation"),
        (at("slo", "ttft", value=-1.0), r":1: slo\.ttft"),
        (at("samples", 0, "tokens", value=["1"]), r":2: samples\.0\.tokens\.0"),
        (
            at("samples", 0, "tokens", value=[1, 1, 0, 1]),
            r":2: samples\.0\.tokens\.2: Input should be greater",
        ),
        (at("said", value=[]), r":3: said: List should have at least 1"),
        (at("client", "lag_p99_ms", value=[]), r":4: client\.lag_p99_ms"),
    ],
)
def test_a_load_that_was_edited(tmp_path: Path, edit: Edit, said: str) -> None:
    load = edited(rich_runs.write_load(tmp_path / "load"), edit)
    with pytest.raises(IntegrityError, match=said):
        record.again(load, {})
    with pytest.raises(IntegrityError, match=said):
        verify_load(load)


@pytest.mark.parametrize("kind", ["load", "samples", "end"])
def test_a_load_without_its_beginning_its_requests_or_its_end(tmp_path: Path, kind: str) -> None:
    load = rich_runs.write_load(tmp_path / "load")
    rechained(load, [one for one in records_of(load) if one["kind"] != kind])
    with pytest.raises(IntegrityError, match="this is not the journal of a load"):
        record.again(load, {})


def test_the_summary_of_a_load_is_no_link_and_has_a_bound(tmp_path: Path) -> None:
    load = rich_runs.write_load(tmp_path / "load")
    (load / record.SUMMARY).rename(tmp_path / "elsewhere.json")
    (load / record.SUMMARY).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(IntegrityError, match="is a link"):
        verify_load(load)
    (load / record.SUMMARY).unlink()
    (load / record.SUMMARY).write_bytes(b"[" + b"[]," * 600_000 + b"[]]")
    with pytest.raises(IntegrityError, match="more than 500000 lists"):
        verify_load(load)


@pytest.mark.parametrize(("kind", "said"), [("fifo", "is a FIFO"), ("directory", "is a directory")])
def test_a_load_whose_summary_is_no_file_is_still_a_load(tmp_path: Path, kind: str, said: str) -> None:
    """It was taken for a run, whose journal then did not begin as one."""
    load = rich_runs.write_load(tmp_path / "load")
    (load / record.SUMMARY).unlink()
    os.mkfifo(load / record.SUMMARY) if kind == "fifo" else (load / record.SUMMARY).mkdir()
    assert is_load(load)
    with pytest.raises(IntegrityError, match=said):
        verify_load(load)


def test_what_would_take_all_memory_or_hours_is_refused() -> None:
    """Every request has its schema; together they ask for 3 million figures, or for tables without end."""
    request = {"tokens": [MOST_REQUEST]}
    loads = [{"samples": [request] * (MOST_TOKENS // MOST_REQUEST)}]
    must_be_modest([weight_of_row({"loads": loads})])
    for arms, units in (
        ([{"loads": [*loads, {"samples": [{"tokens": [1]}]}]}], []),
        ([{"loads": loads}], [{"loads": {"baseline": [{"samples": [request]}], "variant": []}}]),
    ):
        with pytest.raises(ValueError, match=f"more than {MOST_TOKENS} tokens"):
            must_be_modest([*map(weight_of_row, arms), *map(weight_of_unit, units)])
    reply = "x" * MOST_REPLY
    said = vars(SaidTexts(reply, reply, reply))
    count = MOST_CELLS // (2 * MOST_REPLY**2)
    must_be_modest([weight_of_row({"said": [said] * count})])
    solo = [{"tokens": [[1] * 100_000]}]
    for arm in ({"said": [said] * (count + 1)}, {"solo": solo * (MOST_CELLS // 10**10 + 1)}):
        with pytest.raises(ValueError, match="too long to be compared"):
            must_be_modest([weight_of_row(arm)])


def test_a_load_shows_no_text_as_a_line_of_its_own(tmp_path: Path) -> None:
    from bench.cli.load_pages import page
    from bench.report.formats import harmless

    text = "x\x1b[31m\n::error::boo\nvalid\u202e"
    load = edited(rich_runs.write_load(tmp_path / "load"), at("head", "target", value=text))
    shown = page(harmless(record.again(load, {})), load)
    assert not {"\x1b", "\u202e"} & set(shown)
    assert [line for line in shown.splitlines() if line.startswith(("::", "valid"))] == ["valid"]


def test_the_records_are_sound(tmp_path: Path) -> None:
    """What is edited above is believed as it is."""
    assert from_journal(rich_runs.write(tmp_path / "run", rich_runs.served())).status == "ok"
    load = rich_runs.write_load(tmp_path / "load")
    assert "from 6 requests" in verify_load(load)
    assert json.loads((load / JOURNAL).read_text().splitlines()[1])["kind"] == "samples"
