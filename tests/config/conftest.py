"""A config in a file, and a machine on which results do not depend."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import Write

from bench import plugins
from bench.config import support


@pytest.fixture
def cpu_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU machine with every package, so that results do not depend on where the tests run."""
    monkeypatch.setattr(support, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the text of a config to ``test.yaml`` in a directory of its own."""

    def put(text: str) -> Path:
        path = tmp_path / "test.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return put
