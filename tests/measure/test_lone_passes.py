"""What is recorded of the passes that a worker runs alone."""

from __future__ import annotations

from typing import Any

import pytest
from two_arms import Table

from bench.measure import passes


@pytest.mark.parametrize("found", [{}, {"memory_bytes_per_s": 1e10, "matmul_flop_per_s": 1e11}])
def test_ceilings_that_cannot_be_measured_are_not_recorded(found: dict[str, float]) -> None:
    """Figures that need them are null then, and nothing else of the row is lost."""
    scripted: Any = lambda do, arguments: found  # noqa: E731
    table = Table(scripted, scripted)
    passes.ceilings(table.base)
    assert table.notes.of("baseline", "ceilings") == ([found] if found else [])
