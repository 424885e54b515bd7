"""Parquet: the rows of CSV with their types, for data frames; needs pyarrow."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence

from bench.errors import UsageError
from bench.report.formats import FlatRow, flat_rows, harmless
from bench.results.run_summary import RunSummary

SUFFIX = "parquet"
REQUIRES = ("pyarrow",)


def render(runs: Sequence[RunSummary]) -> bytes:
    """Write figures as doubles and missing values as null, so that all files have the same types.

    Raises UsageError if pyarrow is missing.
    """
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError("the parquet format needs pyarrow: pip install pyarrow") from None
    rows: list[FlatRow] = harmless(flat_rows(runs))
    types = {"text": arrow.string(), "flag": arrow.bool_(), "figure": arrow.float64()}
    keys = list(rows[0]) if rows else []
    kinds = {key: _kind([row[key] for row in rows]) for key in keys}
    fields = [arrow.field(key, types[kind]) for key, kind in kinds.items()]
    cells = [{key: _cell(value, kinds[key]) for key, value in row.items()} for row in rows]
    table = arrow.Table.from_pylist(cells, schema=arrow.schema(fields))
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def _cell(value: object, kind: str) -> object:
    """Return a value as its column has it. pyarrow takes no whole number above 2^53 for a double."""
    return float(value) if kind == "figure" and isinstance(value, int) else value


def _kind(column: Sequence[object]) -> str:
    """Return the type of a column. A column of nulls is a figure that no row has."""
    if any(isinstance(value, str) for value in column):
        return "text"
    return "flag" if any(isinstance(value, bool) for value in column) else "figure"
