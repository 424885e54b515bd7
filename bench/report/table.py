"""The table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.report.columns import COLUMNS
from bench.report.reading import sentence
from bench.units import printable

COLOURS = {"better": "green", "worse": "red", "cannot tell": "yellow"}


def render(run: Mapping[str, Any], console: Console) -> None:
    """One row a variant, then one sentence a variant, then what the money rests on."""
    price = run["price"]
    title = escape(printable(f"{run['name']}: {(run['model'] or {}).get('name', 'no model')}"))
    table = Table(title=title, title_justify="left", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=column.right)
    for variant in run["variants"]:
        cells = [escape(printable(column.cell(run, variant))) for column in COLUMNS]
        verdict = [column.key for column in COLUMNS].index("verdict")
        colour = COLOURS.get(cells[verdict], "red" if variant["status"] != "ok" else "")
        cells[verdict] = f"[{colour}]{cells[verdict]}[/]" if colour else cells[verdict]
        table.add_row(*cells)
    console.print(table)
    for variant in run["variants"]:
        if not variant["is_baseline"] or variant["status"] != "ok":
            name = " ".join(filter(None, (variant["group"], variant["name"])))
            console.print(
                f"  [bold]{escape(printable(name))}[/]: {escape(sentence(run, variant))}", highlight=False
            )
    console.print(
        f"  * nothing here is both cheaper and closer to the baseline.  "
        f"$: {escape(printable(price['name']))}, {price['date']}, "
        f"used {price['utilisation']:.0%} of the time.  "
        f"Ratios are measured in turns with the baseline (those marked ~ are not).",
        highlight=False, style="dim",
    )  # fmt: skip
