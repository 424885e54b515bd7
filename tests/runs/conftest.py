"""What holds for every test of whole runs."""

from __future__ import annotations

import psutil
import pytest


@pytest.fixture(autouse=True)
def _children_of_other_tests() -> None:
    """What was there before a test is not its own: other files of the suite start processes too."""
    from test_run import EARLIER

    EARLIER.clear()
    EARLIER.update(process.pid for process in psutil.Process().children(recursive=True))
