"""Two harnesses in one run directory (fault 16), and one that died there (fault 17)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.errors import BenchError, UsageError
from bench.store.lock import HOLDER_NAME, LOCK_NAME, run_lock

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from bench.store.lock import run_lock

with run_lock(Path(sys.argv[1])) as notice:
    print(notice, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_holder(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"None\n"
            yield process
        finally:
            process.kill()


def test_the_second_of_two_processes_is_refused_by_pid(tmp_path: Path) -> None:
    with (
        another_holder(tmp_path) as holder,
        pytest.raises(UsageError, match=f"in use by process {holder.pid};"),
        run_lock(tmp_path),
    ):
        pass


def test_a_lock_let_go_leaves_no_notice(tmp_path: Path) -> None:
    with another_holder(tmp_path) as holder:
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait() == 0
    with run_lock(tmp_path) as notice:
        assert notice is None


def test_the_lock_of_a_killed_process_is_taken_over_with_a_notice(tmp_path: Path) -> None:
    with another_holder(tmp_path) as holder:
        pass
    with run_lock(tmp_path) as notice:
        assert notice is not None
        assert f"process {holder.pid}, which ended without letting go" in notice
        assert (tmp_path / HOLDER_NAME).read_text() == f"{os.getpid()}\n"
    with run_lock(tmp_path) as notice:
        assert notice is None


@pytest.mark.parametrize("content", ["", "0\n", "-1\n", "12", "9" * 400, "\x1b[31m"])
def test_a_holder_file_that_makes_no_sense(tmp_path: Path, content: str) -> None:
    (tmp_path / HOLDER_NAME).write_text(content)
    with run_lock(tmp_path) as notice:
        assert notice == f"took over {tmp_path} from a process, which ended without letting go"


def test_no_dead_process_is_named_as_the_holder(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        (tmp_path / HOLDER_NAME).write_text("4194999\n")  # beyond the largest process id
        with pytest.raises(UsageError, match="in use by another process"), run_lock(tmp_path):
            pass


def test_the_same_process_twice(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"), run_lock(tmp_path):
            pass
        assert (tmp_path / HOLDER_NAME).exists()


def test_an_error_within_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path) as notice:
        assert notice is None


def test_a_directory_that_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"), run_lock(tmp_path / "missing"):
        pass
    assert not (tmp_path / "missing").exists()
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match="cannot lock"), run_lock(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
