"""The directory of a `bench load` may be packed or compacted, and every command reads it as before."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from commands import Bench
from rich_runs import write_load

from bench.errors import ExitCode
from bench.serving import record
from bench.store.run_files import JOURNAL, PACKED, REST, SAMPLES

pytest.importorskip("pyarrow")


@pytest.fixture
def load(tmp_path: Path) -> Path:
    return write_load(tmp_path / "results" / "load")


def said(bench: Bench, load: Path) -> list[str]:
    words = (("load", load), ("load", load, "--json"), ("verify", load))
    return [bench(*each).stdout for each in words]


def test_a_load_is_compacted_and_read_as_before(bench: Bench, load: Path) -> None:
    whole, before = (load / JOURNAL).read_bytes(), said(bench, load)
    assert all(before)
    assert f"{load} would be compacted: " in bench("compact", load.parent, "--dry-run").stdout
    assert bench("compact", load, "--older-than", "10000d").returncode == ExitCode.USAGE
    assert f"{load} compacted: " in bench("compact", load.parent).stdout
    assert {path.name for path in load.iterdir()} - {".lock"} == {REST, SAMPLES, record.SUMMARY}
    assert [text.replace(REST, JOURNAL) for text in said(bench, load)] == before
    assert bench("compact", load, "--undo").returncode == ExitCode.OK
    assert (load / JOURNAL).read_bytes() == whole


def test_a_load_that_was_changed_or_cut_short_is_left_alone(bench: Bench, load: Path) -> None:
    whole, summary = (load / JOURNAL).read_bytes(), (load / record.SUMMARY).read_text()
    (load / record.SUMMARY).write_text("{}")
    assert bench("compact", load).returncode == ExitCode.INTEGRITY
    assert (load / JOURNAL).read_bytes() == whole
    (load / record.SUMMARY).write_text(summary)
    (load / JOURNAL).write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    ended = bench("compact", load)
    assert ended.returncode == ExitCode.USAGE
    assert "is not finished, and a load is not continued" in ended.stderr


def test_a_load_that_was_packed_is_read(bench: Bench, load: Path) -> None:
    before = said(bench, load)
    (load / PACKED).write_bytes(gzip.compress((load / JOURNAL).read_bytes()))
    (load / JOURNAL).unlink()
    assert [text.replace(PACKED, JOURNAL) for text in said(bench, load)] == before
