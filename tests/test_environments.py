"""What is installed in an interpreter, and what an interpreter is."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from bench.environments import identity, interpreter_at
from bench.errors import UsageError


def test_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = identity(None)
    assert found.python == sys.version.split()[0]
    assert identity(Path(sys.executable)) == found


def test_an_interpreter_with_a_package_that_is_edited(tmp_path: Path) -> None:
    """Its packages by name, and a digest of the sources: not of what is hidden, installed or a test."""
    root, packages = tmp_path / "root", tmp_path / "packages"
    sources = {
        "b.py": "b",
        "a/c.py": "c",
        "a/.hidden.py": "",
        "tests/test_b.py": "",
        ".venv/lib/d.py": "",
        "e": "",
    }
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    link = json.dumps({"url": root.as_uri(), "dir_info": {"editable": True}})
    for name in ("zeta", "Alpha"):
        about = packages / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nName: not this\n"
        )
    (packages / "zeta-1.0.dist-info" / "direct_url.json").write_text(link)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -S "$@"\n')
    script.chmod(0o755)
    found = identity(script)
    assert found.packages_sha256 == hashlib.sha256(b"Alpha==1.0\nzeta==1.0").hexdigest()
    assert found.sources_sha256 == hashlib.sha256(b"a/c.pyc" + b"b.pyb").hexdigest()


def test_this_environment_has_what_is_on_its_python_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers find it there; those of an interpreter that a config names do not."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    before = identity(None)
    about = tmp_path / "more-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert identity(None).packages_sha256 != before.packages_sha256
    assert identity(Path(sys.executable)) == before


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
