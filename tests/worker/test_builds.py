"""A lock of a build of kernels: a builder that lives is waited for, one that was killed is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torch.utils.file_baton import FileBaton

from bench.errors import Outcome, VariantFailed
from bench.machine.proc import is_open
from bench.worker import builds

BUILDER = """
import sys
from torch.utils.file_baton import FileBaton

FileBaton(sys.argv[1]).try_acquire()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(FileBaton, "wait", FileBaton.wait)  # and back afterwards
    monkeypatch.setattr(builds, "ALONE_S", 0.05)
    builds.watch()
    return tmp_path / "lock"


@pytest.mark.fault(36)
def test_a_lock_that_a_killed_process_left_is_named(lock: Path) -> None:
    """Every later worker waited for it until its time was over."""
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert builder.stdout is not None
    assert builder.stdin is not None
    assert builder.stdout.readline() == b"\n"
    assert is_open(lock)
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait(timeout=30)
    builder.stdin.close()
    builder.stdout.close()
    assert is_open(lock) is False
    baton = FileBaton(str(lock), wait_seconds=0.01)
    assert not baton.try_acquire()
    with pytest.raises(VariantFailed, match=rf"its lock {lock} was left .* delete that file") as ended:
        baton.wait()
    assert ended.value.outcome == Outcome.LOAD_ERROR
    assert lock.exists(), "nothing is deleted that somebody else may need"


def test_a_builder_that_lives_is_waited_for(lock: Path) -> None:
    builder, waiting = FileBaton(str(lock)), FileBaton(str(lock), wait_seconds=0.01)
    assert builder.try_acquire()
    later = threading.Timer(0.3, builder.release)
    later.start()
    waiting.wait()
    later.join()
    assert not lock.exists()


def test_without_a_lock_nothing_is_waited_for(lock: Path) -> None:
    FileBaton(str(lock)).wait()
