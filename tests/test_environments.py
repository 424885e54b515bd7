"""What is installed in an interpreter, and what an interpreter is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.environments import identity, interpreter_at
from bench.errors import UsageError


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


def test_an_interpreter_by_its_path(tmp_path: Path) -> None:
    assert interpreter_at(sys.executable) == Path(sys.executable)
    for wrong in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="no Python interpreter there"):
            interpreter_at(str(wrong))


def test_an_interpreter_is_asked_without_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config may name any program as an interpreter."""
    monkeypatch.setenv("MY_TOKEN", "xyzzy")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nenv > "{tmp_path}/seen"\nexec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    identity(script)
    assert "xyzzy" not in (tmp_path / "seen").read_text()
