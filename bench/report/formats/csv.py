"""CSV: one row per variant, for a spreadsheet or a data frame; no cell can become a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bench.report.formats import flat_rows, harmless
from bench.results.run_summary import RunSummary

SUFFIX = "csv"
REQUIRES: tuple[str, ...] = ()

# Characters that start a formula in a spreadsheet (CWE-1236), including the full-width forms.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def render(runs: Sequence[RunSummary]) -> str:
    """Write CSV. All text is quoted, so that a spreadsheet with the separator ``;`` does not split it."""
    rows = flat_rows(runs)
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(safe_cell(key) for key in (rows[0] if rows else ()))
    writer.writerows([safe_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def safe_cell(value: object) -> object:
    """Make text safe for a spreadsheet (``=1`` becomes ``'=1``); return any other value unchanged."""
    if not isinstance(value, str):
        return value
    starts = value.startswith(FORMULA_STARTS) or value.lstrip().startswith(FORMULA_STARTS)
    return ("'" if starts else "") + str(harmless(value))
