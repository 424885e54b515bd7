"""Make the columns that a user asks for by key: usual ones, additional ones, and any figure of a run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UsageError
from bench.formatting import did_you_mean, format_share
from bench.metrics import roofline
from bench.report.table_columns import COLUMNS, Column, columns_of, figure_column
from bench.results.explanation import binds, limit_words
from bench.results.run_summary import RunSummary

ADD = "+"
SHARES = ("mbu", "mfu", "bound")


MORE = (
    figure_column(roofline.MBU.key, roofline.MBU.description, roofline.MBU, format_share),
    figure_column(roofline.MFU.key, roofline.MFU.description, roofline.MFU, format_share),
    Column("bound", "bound by", lambda _run, row: binds(row) or "-", right=False),
)


def chosen_columns(run: RunSummary, keys: str) -> tuple[Column, ...]:
    """Return the columns for ``keys``, which are separated by commas; the names of the rows come first.

    A key names a column or any figure of the run. A ``+`` before the keys adds them to the usual table; one
    before each further key says the same. Raises UsageError for an unknown key, and suggests the nearest one.
    """
    usual = columns_of(run)
    known = {column.key: column for column in (*MORE, *COLUMNS, *usual)}
    figures = {key for row in run.rows for key, figure in row.figures() if figure is not None}
    adds = keys.lstrip().startswith(ADD)
    chosen = dict.fromkeys(column.key for column in usual) if adds else {"variant": None}
    for key in (part.strip() for part in keys.split(",")):
        key = key.removeprefix(ADD).lstrip() if adds else key
        if key not in known and key not in figures:
            hint = did_you_mean(key, [*known, *sorted(figures)], f"columns: {', '.join(known)}")
            raise UsageError(f"no column and no figure of this run is called {key!r} ({hint})")
        chosen[key] = None
    return tuple(known[key] if key in known else figure_column(key, key, key) for key in chosen)


def shares_words(run: RunSummary, columns: Sequence[Column]) -> str:
    """Explain the shares of the ceilings, and those above 1; the text is empty if no share is shown."""
    if not any(column.key in SHARES for column in columns):
        return ""
    above = "; ".join(f"{row.title}: {words}" for row in run.rows if (words := limit_words(row)))
    return "shares of what this machine reached at best, measured in the run" + (
        f"; {above}" if above else ""
    )
