"""Where packages lie, and that every child with this interpreter finds them where this process does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import package_places as places
from bench.machine.package_places import OURS, inherited_places, python_path

PACKAGE = Path(OURS) / "bench"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the user has on PYTHONPATH beside this package: one directory, and the place where they stand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["packages", "", OURS]))
    return str(tmp_path / "packages")


def test_a_checkout_comes_before_what_the_user_has(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "OURS", "/a/checkout")
    assert python_path() == {"PYTHONPATH": os.pathsep.join(["/a/checkout", user, OURS])}


@pytest.mark.parametrize("kind", ["site-packages", "dist-packages"])
def test_an_installed_package_comes_after_it(user: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours are other versions than those that this process has found first."""
    monkeypatch.setattr(places, "OURS", f"/lib/{kind}")
    assert python_path() == {"PYTHONPATH": os.pathsep.join([user, OURS, f"/lib/{kind}"])}


def test_this_package_is_named_once(user: str) -> None:
    assert python_path()["PYTHONPATH"].split(os.pathsep).count(OURS) == 1


def test_an_environment_inherits_both_kinds_and_no_checkout(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's interpreter has its packages in dist-packages, and one of pip's --target has any name."""
    known = ["/lib/python3.12", "/usr/local/lib/dist-packages", "/lib/site-packages", user]
    monkeypatch.setattr(sys, "path", known)
    assert inherited_places() == [user, "/usr/local/lib/dist-packages", "/lib/site-packages"]


def test_a_child_finds_a_package_of_the_user(user: str) -> None:
    Path(user).mkdir()
    (Path(user) / "only_here.py").write_text("")
    subprocess.run(
        [sys.executable, "-P", "-c", "import bench, only_here"], env=python_path(), cwd="/", check=True
    )


def test_nobody_makes_a_python_path_elsewhere() -> None:
    """Six starts gave a child this package alone: with gguf on PYTHONPATH no GGUF file could be converted."""
    allowed = {
        "machine/package_places.py", "measure/worker_environment.py", "serving/keeper.py", "environments.py",
    }  # fmt: skip
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value == "PYTHONPATH":
                found.add(file.relative_to(PACKAGE).as_posix())
    assert found == allowed


def test_whoever_starts_a_program_of_this_package_says_where_it_is() -> None:
    """A run on a node got the user's PYTHONPATH, on which a checkout that is not installed does not stand."""
    starting = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            words = [getattr(one, "value", None) for one in getattr(node, "elts", ())]
            if "-m" in words and str(words[words.index("-m") + 1]).startswith("bench"):
                names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
                known = "python_path" in names
                starting.add((file.relative_to(PACKAGE).as_posix(), known))
    assert len(starting) > 5
    assert {name for name, known in starting if not known} == set()
