"""Walking and deleting: as the standard library does it, and without its end in a RecursionError."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest
from deep_directories import DEPTH, TOO_DEEP, nested
from test_layers import modules

from bench.measure.scratch import Scratch
from bench.models.child import size_on_disk
from bench.store import tree
from bench.store.directories import delete, delete_whole, files_below, walk

# Who may walk or delete by the standard library, and why.
ELSEWHERE = {
    "store.directories": "this is where it is done",
    "store.source": "our own package",
    "machine.installed": "runs in any interpreter, on packages that its user has installed",
    "optimisations.shared.training": "runs in the worker, on checkpoints that it wrote itself",
    "runtimes._openvino": "runs in the worker, on an export that it wrote itself",
}


def some(root: Path) -> Path:
    for name in ("one/two", "three"):
        (root / name).mkdir(parents=True)
    for name in ("first", "one/second", "one/two/third"):
        (root / name).write_text("x")
    (root / "one" / "link").symlink_to(root / "three")
    (root / "loop").symlink_to(root)
    return root


def test_all_is_walked_through_and_no_link_is_followed(tmp_path: Path) -> None:
    some(tmp_path)
    found = {str(place.relative_to(tmp_path)): sorted(names) for place, _, names in walk(tmp_path)}
    assert found == {".": ["first", "loop"], "one": ["link", "second"], "one/two": ["third"], "three": []}
    assert {one.name for one in files_below(tmp_path)} == {"first", "loop", "link", "second", "third"}


def test_what_the_caller_leaves_out_is_not_looked_into(tmp_path: Path) -> None:
    seen = []
    for place, directories, _names in walk(some(tmp_path)):
        seen.append(place.name)
        directories[:] = [one for one in directories if one != "one"]
    assert sorted(seen) == sorted([tmp_path.name, "three"])


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    assert list(walk(tmp_path / "nowhere", lambda bad: told.append(str(bad.filename)))) == []
    assert told == [str(tmp_path / "nowhere")]
    assert list(walk(tmp_path / "nowhere")) == []


def test_directories_in_each_other_are_walked_through(tmp_path: Path) -> None:
    with nested(tmp_path):
        assert [one.name for one in files_below(tmp_path)] == ["last"]
        assert size_on_disk(tmp_path) == 0
        tree.write_manifest(tmp_path, ("a",))
        tree.restore(tmp_path)
        told: list[OSError] = []
    with nested(tmp_path, TOO_DEEP):
        assert len(list(walk(tmp_path, told.append))) > DEPTH
        assert [bad.strerror for bad in told] == ["File name too long"]


@pytest.mark.parametrize("depth", [DEPTH, TOO_DEEP])
@pytest.mark.parametrize("files", [64, 4096])
def test_directories_in_each_other_are_deleted(tmp_path: Path, depth: int, files: int) -> None:
    """Python opens each of them, so that the limit of open files can be the first that is met."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (target / "link").symlink_to(tmp_path / "mine")
    with nested(target, depth):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
        try:
            delete(target)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not target.exists()
        target.mkdir()
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_a_link_to_a_directory_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    delete(tmp_path / "link")
    assert (tmp_path / "mine").is_dir()
    with pytest.raises(OSError, match="it is a symbolic link"):
        delete_whole(tmp_path / "link")
    assert (tmp_path / "mine").is_dir()
    delete(tmp_path / "nowhere")
    delete_whole(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may delete everything")
def test_what_stays_is_an_error_where_all_must_go(tmp_path: Path) -> None:
    (tmp_path / "kept" / "file").mkdir(parents=True)
    (tmp_path / "kept").chmod(0o500)
    delete(tmp_path / "kept")
    with pytest.raises(PermissionError):
        delete_whole(tmp_path / "kept")
    (tmp_path / "kept").chmod(0o700)


def test_what_a_process_leaves_in_its_temporary_files_is_deleted(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    place = Path(scratch.make()["TMPDIR"])
    with nested(place):
        scratch.remove()
        assert not place.exists()
        place.mkdir(parents=True)
    place.rmdir()
    place.parent.rmdir()


def test_nobody_else_walks_or_deletes_by_a_call_for_each_directory() -> None:
    words = re.compile(r"\bos\.walk\(|\.rglob\(|\brmtree\(|\.glob\([^)]*\*\*")
    found = {name for name, path in modules().items() if words.search(path.read_text(encoding="utf-8"))}
    assert found == set(ELSEWHERE)
