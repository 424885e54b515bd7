"""A lock of a build of kernels: a builder that lives is waited for, one that was killed is named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from torch.utils import file_baton
from torch.utils.file_baton import FileBaton

from bench.engine import progress
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
    for name in ("wait", "try_acquire", "release"):
        monkeypatch.setattr(FileBaton, name, getattr(FileBaton, name))  # and back afterwards
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


ENGINE = """
import sys
from pathlib import Path
from types import SimpleNamespace

from bench.engine import Options
from bench.worker import session


def load(directory, options):
    assert "torch" not in sys.modules
    from torch.utils.file_baton import FileBaton

    baton = FileBaton(str(directory / "lock"), wait_seconds=0.01)
    if not baton.try_acquire():
        baton.wait()
    print(vars(baton)["spoken"], flush=True)
    baton.release()


session._engine(SimpleNamespace(load=load), Options(), {"directory": sys.argv[1], "optimise": []})
"""


def loaded(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """An engine that imports PyTorch and builds a kernel while it is loaded; of PyTorch it has the lock."""
    package = tmp_path / "packages" / "torch" / "utils"
    package.mkdir(parents=True)
    for one in (package, package.parent):
        (one / "__init__.py").touch()
    shutil.copy(file_baton.__file__, package)
    paths = os.pathsep.join((str(tmp_path / "packages"), str(Path(builds.__file__).parents[2])))
    command = [sys.executable, "-P", "-c", ENGINE, str(tmp_path)]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=60
    )


def test_a_build_in_the_load_of_an_engine_is_watched(tmp_path: Path) -> None:
    """It was watched from the first scheme on only, and the engine waited for ever."""
    found = loaded(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "_Spoken" in found.stdout
    assert not (tmp_path / "lock").exists()


@pytest.mark.fault(36)
def test_a_lock_that_was_left_is_named_in_the_load_of_an_engine(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    found = loaded(tmp_path)
    assert found.returncode != 0
    assert f"a build of kernels would wait for ever: its lock {tmp_path / 'lock'}" in found.stderr


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of a build, without a pause between two words."""
    lines = list[str]()
    monkeypatch.setattr(progress, "EVERY_S", 0.001)
    monkeypatch.setattr(progress, "_last", float("-inf"))
    monkeypatch.setattr(progress, "_sink", lines.append)
    return lines


def test_a_build_says_that_it_goes_on(lock: Path, said: list[str]) -> None:
    """A harness that hears nothing for its time ends the worker, which leaves the lock behind."""
    building = FileBaton(str(lock))
    assert building.try_acquire()
    while len(said) < 3:
        time.sleep(0.001)
    building.release()
    count = len(said)
    assert all(line.startswith(f"kernels are built: {lock.parent.name}, ") for line in said)
    time.sleep(0.02)
    assert (len(said), lock.exists()) == (count, False)


def test_a_build_that_does_not_end_is_waited_for_so_long(
    lock: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    building, waiting = FileBaton(str(lock)), FileBaton(str(lock), wait_seconds=0.002)
    assert building.try_acquire()
    assert not waiting.try_acquire()
    monkeypatch.setattr(builds, "MOST_S", 0.05)
    with pytest.raises(
        VariantFailed, match=f"another process has built kernels for 0.05 s.* {lock}"
    ) as ended:
        waiting.wait()
    assert ended.value.outcome == Outcome.TIMEOUT
    assert any(line.startswith("another process builds kernels: ") for line in said)
    building.release()


def test_watching_twice_changes_nothing(lock: Path) -> None:
    changed = FileBaton.wait, FileBaton.try_acquire, FileBaton.release
    builds.watch()
    assert (FileBaton.wait, FileBaton.try_acquire, FileBaton.release) == changed
