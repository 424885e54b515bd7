"""What plug-ins there are: those of today, whenever somebody asks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench.probes
from bench import plugins
from bench.errors import UsageError
from bench.machine import fingerprint


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


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("probes", "__doc__ = 7\nMETRICS, measure = (), print", "__doc__ is 7, not a text"),
        ("probes", "REQUIRES = 'torch'\nMETRICS, measure = (), print", "REQUIRES is 'torch', not a tuple"),
        ("probes", "REQUIRES = ['torch', 1]\nMETRICS, measure = (), print", "REQUIRES is ['torch', 1], not"),
        ("probes", "REQUIRES = 3\nMETRICS, measure = (), print", "REQUIRES is 3, not a tuple of texts"),
        ("probes", "METRICS = ()", "measure is missing"),
        ("texts", "LICENCE = None\nread = print\nPLACE = 'first'", "PLACE is 'first', not a number"),
        ("texts", "def read(): ...", "LICENCE is missing"),
        ("workloads", "USES = 1\nprompts = print", "USES is 1, not a tuple of texts"),
        ("workloads", "", "prompts or plan or LOAD is missing"),
        ("runtimes", "ENVIRONMENT = {'a': 1}\nload = print", "ENVIRONMENT is {'a': 1}, not a tuple of texts"),
        ("report.formats", "SUFFIX = b'txt'\nrender = print", "SUFFIX is b'txt', not a text"),
        ("optimisations.quantise", "class Params: ...\napply = evidence = print", "Params is <class "),
        ("optimisations.quantise", "NOTE = 1\nParams = apply = evidence = None", "NOTE is 1, not a text"),
        ("optimisations.quantise", "Params = apply = None", "evidence or RULE is missing"),
        ("drift.statistics", "METRIC = of_positions = None", "figure is missing"),
    ],
)  # fmt: skip
def test_a_plug_in_that_is_none_of_its_kind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, content: str, said: str
) -> None:
    """A list or a check met it later, and called it a bug of this program."""
    (tmp_path / "her_unfit_plug_in.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "her_unfit_plug_in", raising=False)
    monkeypatch.setattr(plugins, "_of_others", lambda: {kind: {"hers": "her_unfit_plug_in"}})
    with pytest.raises(UsageError) as caught:
        list(plugins.each(kind))
    assert f" hers is no plug-in of its kind: her_unfit_plug_in.{said}" in str(caught.value)


def test_every_plug_in_of_ours_would_fit_as_one_of_somebody_else() -> None:
    kinds = [*plugins.NEEDED.keys() - {"optimisations"}, "optimisations.quantise", "optimisations.cascade"]
    wrong = {(k, name): plugins._unfit(k, module) for k in kinds for name, module in plugins.each(k)}
    assert set(wrong.values()) == {""}


@pytest.mark.parametrize("name", ["", "no_such_package", "no_such.package", "a..b", ".a"])
def test_what_is_no_name_of_a_package_is_missing(name: str) -> None:
    assert plugins.missing_packages(SimpleNamespace(REQUIRES=(name,))) == (name,)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["raise RuntimeError('broken')", "raise SystemExit(0)", "1 / 0"])
def test_a_package_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "her_broken_package").mkdir()
    (tmp_path / "her_broken_package" / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"the package her_broken_package cannot be imported \("):
        plugins.missing_packages(SimpleNamespace(REQUIRES=("her_broken_package.part",)))  # type: ignore[arg-type]


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


def test_the_version_of_a_package_with_plug_ins_is_a_part_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of two versions of a scheme were compared as if nothing but the day had changed."""
    assert "her-package" not in dict(fingerprint._versions.__wrapped__())
    installed(tmp_path, monkeypatch, b"[inference_cost_bench.probes]\nhers = her_package.probe\n")
    assert dict(fingerprint._versions.__wrapped__())["her-package"] == "1"


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
