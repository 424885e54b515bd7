"""What both sides of a pair have read of their commits, where they need not read the same each time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.measure.arm import ArmUnderTest
from bench.measure.files_read import of_both, record_reading
from bench.records import ANY


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def roots(tmp_path: Path) -> list[dict[str, str]]:
    """Two sides: ``same.txt`` is the same on both, ``other.txt`` differs, only the second has ``new.txt``."""
    found = []
    for name in ("base", "candidate"):
        place = tmp_path / name
        place.mkdir()
        (place / "same.txt").write_text("same")
        (place / "other.txt").write_text(name)
        (place / "finder.py").write_text(f"MAPPING = {str(place)!r}\n")
        found.append({"source": str(place)})
    (tmp_path / "candidate" / "new.txt").write_text("new")
    return found


def test_a_file_that_is_the_same_is_no_difference_if_one_side_alone_has_read_it(
    roots: list[dict[str, str]],
) -> None:
    """An example is drawn for each request, or a set has another order in each process."""
    same = digest("same")
    base, candidate = of_both([{"source:same.txt": same}, {}], roots)
    assert base == candidate == {"source:same.txt": same}


def test_a_file_that_differs_or_is_new_is_one(roots: list[dict[str, str]]) -> None:
    read = {"source:other.txt": digest("candidate"), "source:new.txt": digest("new")}
    base, candidate = of_both([{}, read], roots)
    assert candidate == read
    assert base == {"source:other.txt": digest("base")}


def test_the_place_of_a_side_is_none(roots: list[dict[str, str]]) -> None:
    read = {"source:finder.py": digest("MAPPING = 'source'\n")}
    base, candidate = of_both([read, {}], roots)
    assert base == candidate


@pytest.mark.parametrize("name", [ANY, "elsewhere:a", "source:/etc/passwd", "source:../base/same.txt"])
def test_nothing_outside_is_looked_at(name: str, roots: list[dict[str, str]]) -> None:
    assert of_both([{name: "x"}, {}], roots) == [{name: "x"}, {}]


@pytest.mark.parametrize(("engine", "more"), [("numpy", {}), ("command", {ANY: ""})])
def test_it_is_written_for_rows_that_are_there_already(
    engine: str, more: dict[str, str], roots: list[dict[str, str]]
) -> None:
    written: list[tuple[str, dict[str, Any]]] = []
    journal = SimpleNamespace(append=lambda kind, record: written.append((kind, record)))
    context: Any = SimpleNamespace(journal=journal)
    arms: list[Any] = [
        SimpleNamespace(name=name, runtime=SimpleNamespace(name=engine)) for name in ("base", "candidate")
    ]
    worker: Any = None
    sides = [ArmUnderTest(arm, "r", context, worker, reopened=True) for arm in arms]
    asked: list[str] = []

    def ask(command: Any) -> Any:
        asked.append(command.do)
        return {"source:same.txt": digest("same")}, {}

    record_reading(sides, roots, ask)
    assert asked == ["reached", "solo", "reached"], "what is the same is looked at again after all requests"
    reached = {"source:same.txt": digest("same"), **more}
    assert written == [
        ("arm", {"group": "r", "name": name, "reached": reached}) for name in ("base", "candidate")
    ]
