"""JSON Lines: one flat JSON object per variant and line, for programs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.formats import ascii_json, flat_rows
from bench.results.run_summary import RunSummary

SUFFIX = "jsonl"
REQUIRES: tuple[str, ...] = ()


def render(runs: Sequence[RunSummary]) -> str:
    """Strings as they stand in ``run.json``, escaped to ASCII, so one line stays one line for any reader."""
    return "".join(ascii_json(row) + "\n" for row in flat_rows(runs))
