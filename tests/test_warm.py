"""A forked program is a process as any other: of this one, with all that it was given and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from warm import Warm

TELLS = """
import json, os, sys
given = os.fstat(int(sys.argv[2])).st_ino if len(sys.argv) > 2 else None
print(json.dumps([os.getpid(), os.getsid(0), os.getppid(), os.getcwd(), dict(os.environ), sys.argv, given]))
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(TELLS)
    return path


def test_a_forked_program_has_what_it_was_given(warm_fake: Warm, script: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = ["python", str(script), "7", str(writing)]
    with (tmp_path / "log").open("w") as log:
        forked = warm_fake.start(command, stdout=log, env={"A": "b"}, pass_fds=[writing], cwd=tmp_path)
    assert forked.wait(timeout=60) == forked.wait() == 7
    pid, session, parent, directory, environment, arguments, given = json.loads(
        (tmp_path / "log").read_text()
    )
    assert pid == session == forked.pid
    assert parent == os.getpid()
    assert (directory, environment) == (str(tmp_path), {"A": "b"})
    assert arguments == command[1:]
    assert given == os.fstat(writing).st_ino
    os.close(reading)
    os.close(writing)


def test_what_a_script_prints_and_how_it_ends(warm_fake: Warm, script: Path, tmp_path: Path) -> None:
    done = warm_fake.run(script, "3")
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout)[5] == [str(script), "3"]
    script.write_text("raise ValueError('broken')")
    done = warm_fake.run(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ValueError: broken\n")


def test_one_that_hangs_is_ended_by_a_signal(warm_fake: Warm, script: Path, tmp_path: Path) -> None:
    script.write_text("import time; time.sleep(60)")
    with (tmp_path / "log").open("w") as log:
        forked = warm_fake.start(["python", str(script)], stdout=log, env={})
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(timeout=0.05)
    os.killpg(forked.pid, signal.SIGTERM)
    assert forked.wait(timeout=60) == -signal.SIGTERM


@pytest.mark.parametrize("by_lines", [True, False])
def test_one_that_is_asked_and_answers(warm_fake: Warm, by_lines: bool) -> None:
    code = "import sys\nfor line in sys.stdin: print(sys.argv[1], line, end='', flush=True)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pipes |= {"bufsize": 1} if by_lines else {}
    with warm_fake.start(["python", "-P", "-c", code, "you said"], env={}, **pipes) as forked:
        assert forked.stdin is not None
        assert forked.stdout is not None
        for word in ("one\n", "two\n"):
            forked.stdin.write(word)
            if not by_lines:
                forked.stdin.flush()
            assert forked.stdout.readline() == f"you said {word}"
        assert forked.communicate() == ("", None)
    assert forked.returncode == 0


def test_a_module_is_run_as_a_program(warm_fake: Warm) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with warm_fake.start(["python", "-m", "json.tool", "--compact"], env={}, **pipes) as forked:
        assert forked.stdin is not None
        forked.stdin.write(b'{"a": 1}')
        assert forked.communicate() == (b'{"a":1}\n', None)
