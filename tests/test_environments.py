"""Which environment a side of a gate runs in: identities, interpreters, git refs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import environments
from bench.environments import identity, interpreter_of
from bench.errors import BenchError, UsageError


def git(at: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *settings, *arguments], cwd=at, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_this_environment() -> None:
    found = identity(None)
    assert found.python == sys.version.split()[0]
    assert identity(Path(sys.executable)) == found


def test_what_is_no_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(UsageError, match="not a Python interpreter that works"):
        identity(script)


def test_an_interpreter_by_its_path() -> None:
    assert interpreter_of(sys.executable) == (Path(sys.executable), sys.executable)


@pytest.mark.parametrize("base", ["no-such-ref", "", "--help", "HEAD~100000"])
def test_neither_interpreter_nor_ref(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="neither an interpreter"):
        interpreter_of(base)


def test_a_run_that_is_not_there_is_no_misspelt_ref(tmp_path: Path) -> None:
    """Exit 5: there is nothing to compare with. A ref may have a slash in it too: that stays exit 2."""
    with pytest.raises(BenchError, match="nothing measured") as missing:
        interpreter_of(str(tmp_path / "20260101-run"))
    assert missing.value.exit_code == 5
    with pytest.raises(UsageError, match="neither an interpreter"):
        interpreter_of("origin/no-such-branch")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit of a package that needs nothing to be fetched."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet")
    monkeypatch.chdir(root)
    return root


def commit(root: Path, **files: str) -> str:
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "x")
    return git(root, "rev-parse", "HEAD")


def test_a_commit_with_nothing_to_install(project: Path) -> None:
    commit(project, readme="nothing")
    with pytest.raises(UsageError, match="neither a package"):
        interpreter_of("HEAD")


def test_a_commit_whose_installation_fails(project: Path) -> None:
    commit(project, requirements__txt="no-such-file.whl\n")
    with pytest.raises(BenchError, match="cannot make the packages"):
        interpreter_of("HEAD")
    assert not list(project.parent.glob("cache/bases/*/complete"))


def test_an_environment_for_a_commit_is_made_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is a requirement that is installed already, so pip fetches nothing."""
    first = commit(project, requirements__txt="packaging\n")
    python, label = interpreter_of("HEAD")
    assert label == f"HEAD ({first[:12]})"
    seen = subprocess.run(
        [python, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True
    )
    assert seen.returncode == 0, seen.stderr
    monkeypatch.setattr(environments, "_run", lambda command, what: pytest.fail("made again"))
    assert interpreter_of(first) == (python, f"{first} ({first[:12]})")
