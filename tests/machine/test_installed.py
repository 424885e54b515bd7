"""What is installed in an interpreter, beside what ``importlib.metadata`` and ``pathlib`` say of it."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from bench.machine.installed import found, name_and_version, sources
from bench.store.packages import PACKAGES

FILES = {
    "a.py": "1", "a/b.py": "2", "a-b/c.py": "3", "a/.hidden/d.py": "4", "a/.e.py": "5", "tests/f.py": "6",
    "a/tests/g.py": "7", ".venv/lib/h.py": "8", "a/i.txt": "9", "a/ä.py": "10", "Z.py": "11",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The directory of an editable install, with what does not belong to its sources."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "link.py").symlink_to(root / "a.py")
    (root / "linked").symlink_to(root / "a")
    return root


def by_pathlib(root: Path) -> str:
    """The digest as it stands in the runs that there are: it looked into every directory."""
    files = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if not any(part.startswith(".") or part == "tests" for part in inside.parts):
            files.update(str(inside).encode() + path.read_bytes())
    return files.hexdigest()


def digest(root: Path) -> str:
    return hashlib.sha256(b"".join(sources(root))).hexdigest()


def test_sources_have_the_digest_that_they_had(project: Path) -> None:
    before = digest(project)
    assert before == by_pathlib(project)
    (project / ".venv" / "lib" / "h.py").write_text("changed")
    assert digest(project) == before
    (project / "a" / "ä.py").write_text("changed")
    assert before != digest(project) == by_pathlib(project)


def test_what_is_no_file_is_not_waited_for(project: Path) -> None:
    """The project may be at the commit of somebody else, who can put a link in the place of a file."""
    before = digest(project)
    os.mkfifo(project / "fifo.py")
    for name, to in (("device.py", "/dev/zero"), ("nothing.py", "nowhere"), ("folder.py", "a")):
        (project / name).symlink_to(to)
    assert digest(project) == before


def test_what_is_no_source_is_not_looked_into(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in ``.venv`` has some ten thousand files."""
    seen, real = list[str](), os.scandir

    def scandir(place: Any) -> Any:
        seen.append(os.path.relpath(place, project))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    digest(project)
    assert sorted(seen) == [".", "a", "a-b"]


def test_the_packages_are_those_of_the_library() -> None:
    every = sorted(metadata.distributions(), key=lambda one: (one.metadata["Name"] or "").lower())
    named = [f"{one.metadata['Name'] or '?'}=={one.version or '?'}" for one in every]
    assert found()["packages"] == named
    assert len(named) > 20


@pytest.mark.parametrize(
    "text",
    [
        "Metadata-Version: 2.1\nName: x-y.Z\nVersion: 1.0\nSummary: s\n\nName: another\nVersion: 9\n",
        "name: x-y.Z\nVERSION:1.0",
        "Version: 1.0\nName: x-y.Z\nName: second\n",
        "Name: x-y.Z\nName: y\nDescription: Name: z\n  Version: 3\nVersion: 1.0\n",
    ],
)
def test_a_name_is_that_of_the_library(text: str, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(text)
    one = metadata.PathDistribution(tmp_path)
    assert name_and_version(one) == (one.metadata["Name"], one.version) == ("x-y.Z", "1.0")


def test_a_changed_version_or_file_is_seen(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "own-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: own\nVersion: 1\n")
    link = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(link))
    monkeypatch.setattr(metadata, "distributions", lambda: [metadata.PathDistribution(info)])
    first = found()
    assert (first["packages"], first["sources"]) == (["own==1"], by_pathlib(project))
    (info / "METADATA").write_text("Name: own\nVersion: 2\n")
    assert found() == {**first, "packages": ["own==2"]}
    (project / "a.py").write_text("changed")
    assert found()["sources"] != first["sources"]


def test_a_result_keeps_the_versions_of_all_that_quantises() -> None:
    quantisers = {"torchao", "hqq", "llmcompressor", "compressed-tensors", "optimum-quanto", "bitsandbytes"}
    assert quantisers <= set(PACKAGES)
