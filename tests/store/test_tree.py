"""A directory as it was built: what is new is deleted, what was changed is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store.tree import restore, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a file in a directory, a link, and a manifest beside it."""
    found = tmp_path / "source"
    (found / "deep").mkdir(parents=True)
    (found / "deep" / "a.py").write_text("a")
    (found / "link").symlink_to("deep/a.py")
    (tmp_path / "complete").touch()
    write_manifest(found, tmp_path / "manifest.json")
    return found


def test_what_is_new_is_deleted(root: Path, tmp_path: Path) -> None:
    (root / ".cache").mkdir()
    (root / ".cache" / "answers").write_text("x")
    (root / "link-out").symlink_to(tmp_path)
    restore(root, tmp_path / "manifest.json")
    assert not (root / ".cache" / "answers").exists()
    assert not (root / "link-out").is_symlink()
    assert tmp_path.is_dir()
    assert (root / "deep" / "a.py").read_text() == "a"


@pytest.mark.parametrize("how", ["content", "time", "gone", "link"])
def test_what_was_changed_is_refused_and_built_anew(root: Path, tmp_path: Path, how: str) -> None:
    file = root / "deep" / "a.py"
    if how == "content":
        file.write_text("ab")
    elif how == "time":
        os.utime(file, (1, 1))
    elif how == "gone":
        file.unlink()
    else:
        (root / "link").unlink()
        (root / "link").symlink_to("deep")
    with pytest.raises(BenchError, match="a measured process changed its own files"):
        restore(root, tmp_path / "manifest.json")
    assert not (tmp_path / "complete").exists()


def test_compiled_modules_are_no_state(root: Path, tmp_path: Path) -> None:
    (root / "deep" / "__pycache__").mkdir()
    (root / "deep" / "__pycache__" / "a.pyc").write_text("x")
    restore(root, tmp_path / "manifest.json")
    assert (root / "deep" / "__pycache__" / "a.pyc").exists()
