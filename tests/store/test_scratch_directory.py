"""Directories for temporary files: deleted at the end, and by the next process after a ``kill -9``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import scratch_directory as scratch
from bench.store.scratch_directory import PREFIX, ScratchDirectory, scratch_directory

HOLDER = """
import time
from bench.store.scratch_directory import ScratchDirectory
made = ScratchDirectory("test")
(made.path / "said").write_text("a prompt")
print(made.path, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the temporary files of this test lie."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def begun() -> tuple[subprocess.Popen[str], Path]:
    """Another process, and the directory that it holds."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_it_is_deleted_at_the_end_and_only_for_this_user() -> None:
    with scratch_directory("test") as place:
        assert place.name.startswith(f"{PREFIX}test-")
        assert place.stat().st_mode & 0o077 == 0
        (place / "inner").mkdir()
    assert not place.exists()
    made = ScratchDirectory("test")
    made.delete()
    made.delete()
    assert not made.path.exists()


def test_what_a_killed_process_left_goes_with_the_next_one() -> None:
    child, left = begun()
    try:
        ScratchDirectory("next").delete()
        assert (left / "said").read_text() == "a prompt", "it is in use"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert left.exists()
    ScratchDirectory("next").delete()
    assert not left.exists()


def test_what_is_not_ours_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, link, other = place / f"{PREFIX}free", place / f"{PREFIX}link", place / "other"
    free.mkdir()
    other.mkdir()
    link.symlink_to(other)
    (place / f"{PREFIX}file").write_text("")
    us = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: us + 1)
    ScratchDirectory("next").delete()
    assert free.exists(), "another user's"
    monkeypatch.setattr(os, "getuid", lambda: us)
    ScratchDirectory("next").delete()
    assert sorted(path.name for path in place.iterdir()) == [f"{PREFIX}file", f"{PREFIX}link", "other"]
