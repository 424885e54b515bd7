"""Two harnesses in one run directory (fault 16), one that died there (fault 17), and two on one machine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bench.errors import BenchError, UsageError
from bench.store import run_lock as run_lock_module
from bench.store.run_lock import (
    HOLDER_NAME,
    LOCK_NAME,
    MACHINE_LOCK,
    holder_of,
    machine_lock,
    machine_lock_file,
    run_lock,
    sides_lock,
)

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from bench.store.run_lock import run_lock

with run_lock(Path(sys.argv[1])) as notice:
    print(notice, flush=True)
    sys.stdin.read()
"""


MACHINE_HOLDER = """
import os, sys
from pathlib import Path
from bench.store.run_lock import machine_lock, sides_lock

with machine_lock(print):
    print(None, flush=True)
    sys.stdin.read()
"""


SIDES_HOLDER = MACHINE_HOLDER.replace("machine_lock(", "sides_lock([Path(os.environ['SIDE'])], ")


def another_holder(directory: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return holding(HOLDER, str(directory))


@contextmanager
def holding(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has got its lock, and holds it until its standard input is closed."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"None\n"
            yield process
        finally:
            process.kill()


@pytest.mark.fault(16)
def test_the_second_of_two_processes_is_refused_by_pid(tmp_path: Path) -> None:
    with (
        another_holder(tmp_path) as holder,
        pytest.raises(UsageError, match=f"in use by process {holder.pid};"),
        run_lock(tmp_path),
    ):
        pass


def test_who_holds_a_directory_can_be_asked_without_touching_it(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    assert holder_of(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []
    with another_holder(tmp_path) as holder:
        assert holder_of(tmp_path) == f"process {holder.pid}"
    assert holder_of(tmp_path) is None
    with run_lock(tmp_path):
        assert holder_of(tmp_path) == f"process {os.getpid()}"


def test_a_lock_let_go_leaves_no_notice(tmp_path: Path) -> None:
    with another_holder(tmp_path) as holder:
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait() == 0
    with run_lock(tmp_path) as notice:
        assert notice is None


@pytest.mark.fault(17)
def test_the_lock_of_a_killed_process_is_taken_over_with_a_notice(tmp_path: Path) -> None:
    with another_holder(tmp_path) as holder:
        pass
    with run_lock(tmp_path) as notice:
        assert notice is not None
        assert f"process {holder.pid}, which ended without releasing it" in notice
        assert (tmp_path / HOLDER_NAME).read_text() == f"{os.getpid()}\n"
    with run_lock(tmp_path) as notice:
        assert notice is None


@pytest.mark.parametrize("content", ["", "0\n", "-1\n", "12", "9" * 400, "\x1b[31m"])
def test_a_holder_file_that_makes_no_sense(tmp_path: Path, content: str) -> None:
    (tmp_path / HOLDER_NAME).write_text(content)
    with run_lock(tmp_path) as notice:
        assert notice == f"took over {tmp_path} from a process, which ended without releasing it"


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


# ---- the machine -------------------------------------------------------------------------------------


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for the machine, for this process and its children."""
    file = tmp_path / "machine.lock"
    monkeypatch.setenv(MACHINE_LOCK, str(file))
    return file


def left_alone(_text: str) -> None:
    pytest.fail("nobody holds the machine, so there is nothing to wait for")


@pytest.mark.usefixtures("lock_file")
@pytest.mark.parametrize("what", ["the machine", "a commit"])
def test_the_second_process_waits_for_the_first_and_says_so_once(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two gates with different locks of the machine may use the same commit."""
    told: list[str] = []
    monkeypatch.setenv("SIDE", str(tmp_path / "side"))
    with holding(MACHINE_HOLDER if what == "the machine" else SIDES_HOLDER) as holder:

        def tell(text: str) -> None:
            told.append(text)
            assert holder.poll() is None
            assert holder.stdin is not None
            holder.stdin.close()

        homes = [tmp_path / name for name in ("side", "other", "side")]
        with machine_lock(tell) if what == "the machine" else sides_lock(homes, tell):
            assert holder.wait(timeout=30) == 0
    assert len(told) == 1
    assert told[0].startswith(f"waiting for process {holder.pid}, ")


@pytest.mark.usefixtures("lock_file")
def test_a_holder_that_is_killed_frees_the_machine() -> None:
    told: list[str] = []
    with holding(MACHINE_HOLDER) as holder:

        def tell(text: str) -> None:
            told.append(text)
            holder.send_signal(signal.SIGKILL)

        with machine_lock(tell):
            assert holder.wait(timeout=30) == -signal.SIGKILL
    assert len(told) == 1
    with machine_lock(left_alone):
        pass


def test_the_machine_is_free_again_afterwards(lock_file: Path) -> None:
    holder = lock_file.with_name("machine.lock.pid")
    for _ in range(2):
        with machine_lock(left_alone):
            assert holder.read_text() == f"{os.getpid()}\n"
        assert not holder.exists()
        with pytest.raises(KeyError), machine_lock(left_alone):
            raise KeyError
        assert not holder.exists()


@pytest.mark.usefixtures("lock_file")
def test_ctrl_c_ends_the_wait() -> None:
    def press(_text: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    def interrupt(_number: int, _frame: object) -> None:  # as Python's own handler of Ctrl-C
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with holding(MACHINE_HOLDER) as holder:
            with pytest.raises(KeyboardInterrupt), machine_lock(press):
                pytest.fail("the other process holds the machine")
            assert holder.poll() is None
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_lock_is_taken_if_none_is_wanted(
    lock_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(MACHINE_HOLDER):
        monkeypatch.setenv(MACHINE_LOCK, "none")
        with machine_lock(left_alone):
            pass
        monkeypatch.setenv(MACHINE_LOCK, str(tmp_path / "the-other-half"))
        with machine_lock(left_alone):
            pass
    assert not Path("none").exists()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory of the system and another one of the job, and nobody has named a lock."""
    monkeypatch.delenv(MACHINE_LOCK, raising=False)
    monkeypatch.setattr(run_lock_module, "SHARED", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "of a job"))
    return tmp_path / f"inference-cost-bench-{os.getuid()}"


@pytest.mark.parametrize("named", [None, ""])
def test_where_the_lock_lies(temporary: Path, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    if named is not None:
        monkeypatch.setenv(MACHINE_LOCK, named)
    for _ in range(2):
        with machine_lock(left_alone):
            assert machine_lock_file() == temporary / "machine.lock"
            assert (temporary / "machine.lock").is_file()
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


def test_a_system_without_a_directory_that_all_may_write(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lock_module, "SHARED", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert machine_lock_file() == temporary / "machine.lock"


@pytest.mark.parametrize("what", ["link", "dangling link", "open to others", "file", "of another user"])
def test_what_another_user_may_have_put_there_is_refused(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whoever owns the directory could hold the lock for good, or have a file written elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    if what == "link":
        elsewhere.mkdir(mode=0o700)
    if what.endswith("link"):
        temporary.symlink_to(elsewhere)
    elif what == "open to others":
        temporary.mkdir()
        temporary.chmod(0o755)
    elif what == "file":
        temporary.touch(mode=0o600)
    else:
        uid = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: uid)
    with pytest.raises(BenchError, match=f"inference-cost-bench-.* {MACHINE_LOCK}=FILE"):
        machine_lock_file()
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_the_named_file_is_not_followed(lock_file: Path, tmp_path: Path) -> None:
    lock_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match=f"cannot lock {lock_file}"), machine_lock(left_alone):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_fifo_in_the_place_of_the_holder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / HOLDER_NAME)
    with run_lock(tmp_path) as notice:
        assert notice == f"took over {tmp_path} from a process, which ended without releasing it"


def test_a_home_of_nobody_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MACHINE_LOCK, "~nobody-has-this-name/lock")
    with pytest.raises(UsageError, match="there is no such home directory"):
        machine_lock_file()
