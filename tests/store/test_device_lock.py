"""One harness at a time on a GPU, whoever runs it: in another results directory, as another user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store import device_lock
from bench.store.device_lock import device_locks
from bench.store.run_lock import MACHINE_LOCK

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys
from pathlib import Path
from bench.store import device_lock

device_lock.SHARED = Path(sys.argv[1])
with device_lock.device_locks(sys.argv[2:], print):
    print("held", flush=True)
    sys.stdin.read()
"""
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def shared(monkeypatch: Patch, tmp_path: Path) -> Path:
    monkeypatch.setattr(device_lock, "SHARED", tmp_path)
    monkeypatch.delenv(MACHINE_LOCK, raising=False)
    return tmp_path


@contextmanager
def another(shared: Path, *names: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {key: value for key, value in os.environ.items() if key != MACHINE_LOCK}
    command = [sys.executable, "-c", HOLDER, str(shared), *names]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("ending", ["let go", "killed"])
def test_the_second_of_two_waits_for_the_first_by_its_number(shared: Path, ending: str) -> None:
    said: list[str] = []
    with another(shared, "GPU-a") as holder:

        def told(text: str) -> None:
            said.append(text)
            if ending == "killed":
                holder.kill()
            else:
                assert holder.stdin is not None
                holder.stdin.close()

        with device_locks(["GPU-a"], told):
            holder.wait(10)
    (text,) = said
    assert text.startswith(f"waiting for process {holder.pid}, which measures on this GPU")


def test_another_gpu_is_free(shared: Path) -> None:
    with another(shared, "GPU-a"), device_locks(["GPU-b"], pytest.fail):
        pass


def test_a_gpu_that_is_taken_keeps_those_before_it_too(shared: Path) -> None:
    """In one order for everybody, whatever the order in which they are asked for."""
    with device_locks(["GPU-b", "GPU-a", "GPU-b"], pytest.fail):
        assert len(list(shared.iterdir())) == 2
        waiting = threading.Event()
        with another(shared, "GPU-c"):
            for name in ("GPU-a", "GPU-b"):
                descriptor = os.open(shared / f"inference-cost-bench-{name}.lock", os.O_RDONLY)
                assert not device_lock._taken(descriptor)
                os.close(descriptor)
            waiting.set()
    with device_locks(["GPU-a", "GPU-b"], pytest.fail):
        assert waiting.is_set()


def test_a_lock_of_another_user_can_be_taken(shared: Path) -> None:
    """The file can be read by all and written by nobody, whatever the umask of who made it."""
    before = os.umask(0o077)
    try:
        with device_locks(["GPU-a"], pytest.fail):
            (file,) = shared.iterdir()
            assert stat.S_IMODE(file.stat().st_mode) == 0o444
    finally:
        os.umask(before)
    with device_locks(["GPU-a"], pytest.fail):
        assert file.read_bytes() == b""


@pytest.mark.parametrize("what", ["link", "directory", "fifo"])
def test_what_is_no_plain_file_is_refused(shared: Path, what: str) -> None:
    file = shared / "inference-cost-bench-GPU-a.lock"
    if what == "link":
        (shared / "mine").write_text("keep")
        file.symlink_to(shared / "mine")
    elif what == "directory":
        file.mkdir()
    else:
        os.mkfifo(file)
    with pytest.raises(BenchError, match=r"inference-cost-bench-GPU-a\.lock"), device_locks(["GPU-a"], print):
        pass


def test_no_lock_if_none_is_wanted(shared: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv(MACHINE_LOCK, "none")
    with device_locks(["GPU-a"], pytest.fail):
        assert not list(shared.iterdir())


def test_a_name_is_no_path(shared: Path) -> None:
    with device_locks(["MIG-1/../../x"], pytest.fail):
        (file,) = shared.iterdir()
        assert file.name == "inference-cost-bench-MIG-1_______x.lock"
