"""Print the result table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.formatting import format_setting, printable
from bench.report.behaviour import spoiled
from bench.report.custom_columns import chosen_columns, shares_words
from bench.report.encoders import is_encoder
from bench.report.formats import presented
from bench.report.gate import lines
from bench.report.gate_reading import TONES
from bench.report.notes import drift_note, front_words, timed_words
from bench.report.row_sentence import sentence
from bench.report.table_columns import Column, columns_of
from bench.results.run_summary import RunSummary
from bench.stats.ratio_verdict import Verdict

COLOURS: dict[str, str] = {Verdict.BETTER: "green", Verdict.WORSE: "red", Verdict.CANNOT_TELL: "yellow"}
COLOURS |= {gate: COLOURS[tone.replace("-", " ")] for gate, tone in TONES.items()}
# The columns that are left out, in this order, if the terminal is too narrow.
OF_GPUS = ("mfu", "mbu", "busy")
LEFT_OUT_FIRST = (
    *("peak", "weights", "output_throughput", "ttft", "tpot"),
    *("total_throughput", "ranks", "cosine_p01", "e2el"),  # of encoders
    *("edge_usd", "cloud_usd", "sent_on"),  # of cascades, whose sentence says them
)
OF_SERVERS = ("peak", "e2el", "ttft_p90", "output_throughput", "errors", "tpot")
OF_LIMITS = ("cost", "ttft")  # where the dollars of a good request are there
VERDICT = "verdict"
MAY_WRAP = ("variant", "ratio", VERDICT)


def render(run: RunSummary, console: Console, keys: str = "") -> None:
    """Print the table, then a sentence for each variant, then the price and notes on the columns.

    The gate's verdict comes last, so that it is still visible when the output scrolls. ``keys`` name the
    columns to show instead of the usual ones (see `chosen_columns`).
    """
    run = presented(run)
    columns = chosen_columns(run, keys) if keys else columns_of(run)
    table, left_out = _fitting(run, console, columns)
    console.print(table)
    if left_out:
        everything = _width(_table(run, columns), console)
        console.print(
            f"  left out: {', '.join(column.title for column in left_out)} "
            f"({everything} columns show all, so does --format markdown)",
            highlight=False, style="dim",
        )  # fmt: skip
    for row in run.rows:
        if not row.is_baseline or not row.ok:
            console.print(
                f"  [bold]{escape(printable(row.title))}[/]: {escape(sentence(run, row))}",
                highlight=False,
                style="red" if spoiled(run, row) else None,
            )
    price = run.price
    money = f"{price['name']}, {price['date']}, used {format_setting(price['utilisation'])} of the time"
    for mark, words in (
        ("*", front_words(run)),
        ("$", money),
        ("~", timed_words(run)),
        ("KL" if not any(map(is_encoder, run.rows)) else "=", drift_note(run)),
        ("%", shares_words(run, columns)),
    ):
        if words:
            console.print(f"  {mark:2} {escape(printable(words))}", highlight=False, style="dim")
    for line in lines(run.name, run.gate) if run.gate else ():
        console.print(escape(line), highlight=False)


def _fitting(run: RunSummary, console: Console, every: Sequence[Column]) -> tuple[Table, list[Column]]:
    """Return (the widest table that fits, the columns it leaves out); cells wrap if no table fits."""
    known = {column.key for column in every}
    of_servers = (*OF_SERVERS, *(OF_LIMITS if "cost_good" in known else ()))
    order = [key for key in (of_servers if run.served else (*OF_GPUS, *LEFT_OUT_FIRST)) if key in known]
    for dropped in range(len(order) + 1):
        left_out = [column for column in every if column.key in order[:dropped]]
        columns = [column for column in every if column not in left_out]
        table = _table(run, columns)
        if _width(table, console) <= console.width:
            return table, left_out
    table = _light(_table(run, columns))
    if _width(table, console) > console.width:
        table = _light(_table(run, columns, wrapped=True))
    return table, left_out


def _width(table: Table, console: Console) -> int:
    """Return the width of the table in characters if nothing wraps."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def _table(run: RunSummary, columns: Sequence[Column], *, wrapped: bool = False) -> Table:
    """Build the table. ``wrapped`` puts intervals below their ratios, and wraps names but no numbers."""
    title = escape(printable(f"{run.name}: {(run.model or {}).get('name') or 'no model'}"))
    table = Table(title=title, title_justify="left", pad_edge=False, show_lines=wrapped)
    rows = [[printable(column.cell(run, row)) for column in columns] for row in run.rows]
    for index, column in enumerate(columns):
        may_wrap = wrapped and column.key in MAY_WRAP
        heading = _broken(column.title) if wrapped else column.title
        table.add_column(
            heading, justify="right" if column.right else "left", overflow="fold", no_wrap=not may_wrap,
            # A given width saves rich from measuring the cells again for every table that is tried.
            width=None if wrapped else max(map(cell_len, (heading, *(row[index] for row in rows)))),
        )  # fmt: skip
    keys = [column.key for column in columns]
    for row, cells in zip(run.rows, rows, strict=True):
        texts = [Text(_broken(cell) if wrapped else cell) for cell in cells]
        if VERDICT in keys:
            place = keys.index(VERDICT)
            texts[place].stylize(COLOURS.get(cells[place], "" if row.ok else "red"))
        table.add_row(*texts)
    return table


def _light(table: Table) -> Table:
    """Remove the lines between columns, which take a fifth of the width of a narrow terminal."""
    table.box, table.collapse_padding = box.SIMPLE_HEAD, True
    return table


def _broken(text: str) -> str:
    return text.replace(" [", "\n[", 1)
