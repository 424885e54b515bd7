"""Directories as they were built: what is new is deleted, what was changed is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.errors import VariantFailed
from bench.store.tree import restore, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a file in a directory, a link, another directory beside it, and their manifest."""
    found = tmp_path / "source"
    (found / "deep").mkdir(parents=True)
    (found / "deep" / "a.py").write_text("a")
    (found / "link").symlink_to("deep/a.py")
    (tmp_path / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "venv" / "lib" / "b.py").write_text("b")
    (tmp_path / "complete").touch()
    write_manifest(tmp_path, ("source", "venv"))
    return found


def test_what_is_new_is_deleted(root: Path, tmp_path: Path) -> None:
    (root / ".cache").mkdir()
    (root / ".cache" / "answers").write_text("x")
    (root / "link-out").symlink_to(tmp_path)
    (tmp_path / "venv" / "lib" / "answers").write_text("x")
    restore(tmp_path)
    assert not (root / ".cache" / "answers").exists()
    assert not (root / "link-out").is_symlink()
    assert not (tmp_path / "venv" / "lib" / "answers").exists()
    assert tmp_path.is_dir()
    assert (root / "deep" / "a.py").read_text() == "a"


@pytest.mark.parametrize("how", ["content", "time", "gone", "link", "package"])
def test_what_was_changed_is_refused_and_built_anew(root: Path, tmp_path: Path, how: str) -> None:
    file = root / "deep" / "a.py"
    if how == "content":
        file.write_text("ab")
    elif how == "time":
        os.utime(file, (1, 1))
    elif how == "gone":
        file.unlink()
    elif how == "package":
        (tmp_path / "venv" / "lib" / "b.py").write_text("bc")
    else:
        (root / "link").unlink()
        (root / "link").symlink_to("deep")
    what = {
        "gone": r"deep/a\.py was deleted",
        "link": "link was changed",
        "package": r"lib/b\.py was changed",
    }
    said = f"{what.get(how, 'deep/a.py was changed')}.*work on a copy of it in a temporary directory"
    with pytest.raises(VariantFailed, match=rf"a measured process changed its own files \({said}"):
        restore(tmp_path)
    assert not (tmp_path / "complete").exists()


def test_many_changed_files_are_counted(root: Path, tmp_path: Path) -> None:
    for number in range(8):
        (root / f"state-{number}").write_text("1")
    write_manifest(tmp_path, ("source",))
    for number in range(8):
        (root / f"state-{number}").write_text("22")
    with pytest.raises(VariantFailed, match="state-4 was changed, and 3 more files"):
        restore(tmp_path)


def test_compiled_modules_are_no_state(root: Path, tmp_path: Path) -> None:
    (root / "deep" / "__pycache__").mkdir()
    (root / "deep" / "__pycache__" / "a.pyc").write_text("x")
    restore(tmp_path)
    assert (root / "deep" / "__pycache__" / "a.pyc").exists()


def test_the_time_of_a_link_is_no_state(root: Path, tmp_path: Path) -> None:
    """An archive, such as the cache of a CI job, need not keep it."""
    (root / "link").unlink()
    (root / "link").symlink_to("deep/a.py")
    os.utime(root / "link", (1, 1), follow_symlinks=False)
    restore(tmp_path)


def test_a_place_that_was_copied_with_its_times_is_as_it_was(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("source", "venv"):
        shutil.copytree(tmp_path / name, copy / name, symlinks=True)
    shutil.copy(tmp_path / "manifest.json", copy)
    restore(copy)
