"""What plug-ins there are: those of today, whenever somebody asks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import bench.probes
from bench import plugins
from bench.errors import UsageError


def test_a_file_is_a_plug_in_until_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = plugins.names("probes")
    assert "page-faults" in before
    monkeypatch.setattr(bench.probes, "__path__", [*bench.probes.__path__, str(tmp_path)])
    assert plugins.names("probes") == before
    hers = tmp_path / "her_probe.py"
    hers.write_text('"""Hers."""\n')
    assert set(plugins.names("probes")) - set(before) == {"her-probe"}
    assert plugins.module_name("probes", "her-probe") == "bench.probes.her_probe"
    hers.unlink()
    assert plugins.names("probes") == before


def test_a_place_that_is_not_there_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.probes, "__path__", [str(tmp_path / "nowhere")])
    assert plugins.names("probes") == ()
    assert plugins.packages("probes") == {}


def test_what_was_loaded_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of a sweep of 999 cells loads 32,000 times, and looked into the directories each time."""
    module = plugins.load("probes", "page-faults")
    looked: list[str] = []
    monkeypatch.setattr(plugins, "names", lambda kind: looked.append(kind) or ("page-faults",))
    assert [plugins.load("probes", "page-faults") for _ in range(3)] == [module] * 3
    assert looked == []
    monkeypatch.delitem(sys.modules, module.__name__)  # it is to be imported anew
    assert plugins.load("probes", "page-faults") is not module
    assert looked == ["probes"]
    monkeypatch.undo()
    assert plugins.load("probes", "page-faults") is module


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("def", "SyntaxError: "), ("unknown", "NameError: name 'unknown'"), ("1 / 0", "ZeroDivisionError: "),
        ("raise RuntimeError('two\\nlines \\x1b[31m')", "RuntimeError: two lines �[31m"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("raise SystemExit(0)", "it ends the program (SystemExit(0))"),
        ("class Odd(Exception): ...\nraise Odd('hers')", "Odd: hers"),
    ],
)  # fmt: skip
def test_a_plug_in_that_is_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
) -> None:
    (tmp_path / "her_broken_probe.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_of_others", lambda: {"probes": {"hers": "her_broken_probe"}})
    with pytest.raises(UsageError) as caught:
        list(plugins.each("probes"))
    assert f"the probe hers cannot be imported from her_broken_probe: {said}" in str(caught.value)


def test_a_fault_of_ours_stays_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise NameError("ours")

    monkeypatch.setattr(plugins.importlib, "import_module", broken)
    with pytest.raises(NameError):
        plugins._imported("probes", "page-faults", "bench.probes.page_faults")


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry_points: bytes) -> None:
    """A package of somebody else in this environment."""
    place = tmp_path / "her_package-1.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: her-package\nVersion: 1\n")
    (place / "entry_points.txt").write_bytes(entry_points)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_of_others", plugins._of_others.__wrapped__)  # nothing is remembered


def test_a_name_that_is_no_module_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, b"[inference_cost_bench.probes]\nhers = her-package.probe:main\n")
    assert "hers" in plugins.names("probes")
    with pytest.raises(UsageError, match=r"the probe hers cannot be imported from her-package.probe: No mod"):
        plugins.load("probes", "hers")


@pytest.mark.parametrize("content", [b"[console_scripts]\nno sign of an equals\n", b"[x]\na = \xff\n"])
def test_a_package_whose_entry_points_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """It ended every command in a traceback, whether it had plug-ins or not."""
    installed(tmp_path, monkeypatch, content)
    with pytest.raises(
        UsageError, match=r"the entry points of her-package cannot be read \(.+\): install it"
    ):
        plugins.names("probes")
