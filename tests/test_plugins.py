"""What plug-ins there are: those of today, whenever somebody asks."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench.probes
from bench import plugins


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
