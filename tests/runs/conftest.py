"""What holds for every test of whole runs."""

from __future__ import annotations

import psutil
import pytest
from identities import once

from bench.machine import noise
from bench.measure import arm

__all__ = ["once"]  # a fixture


@pytest.fixture(autouse=True)
def _looked_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed, and what workers have started, which is nothing: to look for it among all processes
    of the machine, before and after each stage, takes a third of a run of fakes."""
    request.getfixturevalue("once")
    for module in (arm, noise):
        monkeypatch.setattr(module, "tree_of", lambda leader: [leader])


@pytest.fixture(autouse=True)
def _children_of_other_tests() -> None:
    """What was there before a test is not its own: other files of the suite start processes too."""
    from test_run import EARLIER

    EARLIER.clear()
    EARLIER.update(process.pid for process in psutil.Process().children(recursive=True))
