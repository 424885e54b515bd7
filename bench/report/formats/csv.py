"""CSV: one row per variant, for a spreadsheet or a data frame; no cell can become a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bench.report.formats import flat_rows, harmless
from bench.results.run_summary import RunSummary

SUFFIX = "csv"
REQUIRES: tuple[str, ...] = ()

# What a spreadsheet reads as the start of a formula (CWE-1236), full-width forms included.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def render(runs: Sequence[RunSummary]) -> str:
    """Write CSV with all text quoted, so that a spreadsheet with the separator ``;`` finds no new cell."""
    rows = flat_rows(runs)
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(safe_cell(key) for key in (rows[0] if rows else ()))
    writer.writerows([safe_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def safe_cell(value: object) -> object:
    """Keep numbers as they are and missing values empty, and make text safe: ``=1`` becomes ``'=1``."""
    if not isinstance(value, str):
        return value
    starts = value.startswith(FORMULA_STARTS) or value.lstrip().startswith(FORMULA_STARTS)
    return ("'" if starts else "") + str(harmless(value))
