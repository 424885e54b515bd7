"""The stub server is there for all tests of this directory."""

from contextlib import nullcontext

import pytest
from running_stub import stub

from bench.serving import load

__all__ = ["stub"]


@pytest.fixture(autouse=True)
def _garbage_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has run thousands of tests holds so much that collecting it takes a second a load."""
    monkeypatch.setattr(load, "_no_collection", nullcontext)
