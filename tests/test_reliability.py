"""docs/reliability.md names a test for every fault and every bad input, and it is what the tests say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from loaded_script import loaded_script

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"fault": 47, "bad_input": 46}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded_script("reliability-table")


def test_the_page_is_what_the_tests_say(script: ModuleType) -> None:
    """Otherwise: ``.venv/bin/python scripts/reliability-table``."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert script.written(page) == page


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_has_a_test_or_a_reason(script: ModuleType, kind: str) -> None:
    proofs, reasons = script.proofs(kind), script.NOT_HERE[kind]
    everything = set(range(1, KINDS[kind] + 1))
    assert set(script.TABLES[kind][1]) == everything
    assert set(proofs) | set(reasons) == everything
    assert set(proofs) & set(reasons) == set(), "what is proven needs no reason"
    assert all(reason.startswith("not applicable here: ") for reason in reasons.values())


MARKED = """
import pytest
CASES = [
    pytest.param(1, id="one", marks=pytest.mark.fault(5)),
    pytest.param(2, id="two", marks=(pytest.mark.slow, pytest.mark.fault(6))),
    pytest.param(3, id="three"),
]

@pytest.mark.fault(1, 2)
@pytest.mark.bad_input(9)
def test_a(): ...

@pytest.mark.parametrize("x", CASES)
def test_b(x): ...

class TestC:
    @pytest.mark.parametrize("x", [pytest.param(1, id="in", marks=pytest.mark.fault(3))])
    def test_d(self, x): ...

@pytest.mark.default(4)
def test_e(): ...
"""


def test_marks_are_found_wherever_they_stand(script: ModuleType, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_x.py").write_text(MARKED)
    assert dict(script.proofs("fault", tests)) == {
        1: ["tests/test_x.py::test_a"], 2: ["tests/test_x.py::test_a"],
        5: ["tests/test_x.py::test_b[one]"], 6: ["tests/test_x.py::test_b[two]"],
        3: ["tests/test_x.py::TestC::test_d[in]"],
    }  # fmt: skip
    assert dict(script.proofs("bad_input", tests)) == {9: ["tests/test_x.py::test_a"]}


def test_a_number_without_a_test_is_shown(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "proofs", lambda name: {})
    assert "**no test**" in script.table("fault")
