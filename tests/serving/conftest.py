"""The stub server is there for all tests of this directory."""

import pytest
from running_stub import stub

__all__ = ["stub"]


@pytest.fixture(autouse=True)
def _quick(garbage_stays: None) -> None:
    """Loads by the hundred."""
