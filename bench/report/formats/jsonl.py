"""JSON Lines: one flat JSON object on a line for each variant, for programs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.formats import ascii_json, flat_rows
from bench.results.run_summary import RunSummary

SUFFIX = "jsonl"
REQUIRES: tuple[str, ...] = ()


def render(runs: Sequence[RunSummary]) -> str:
    """Write strings as in ``run.json``, escaped to ASCII, so that one line is one line for any reader."""
    return "".join(ascii_json(row) + "\n" for row in flat_rows(runs))
