"""Define the command `bench explain`, which derives each figure of one row and says where its money went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.edited_results import showing
from bench.cli.main_commands import app
from bench.cli.options import AsJson, RunDirectory
from bench.errors import UsageError
from bench.formatting import did_you_mean, format_significant, one_line, with_ordinals

if TYPE_CHECKING:
    from bench.plan.api_comparison import Comparison
    from bench.results.explanation import Explained, Part
    from bench.results.row import Row
    from bench.results.run_summary import RunSummary

MOST_APIS = 3  # APIs that are compared with a row that has a prompt cache


@app.command()
def explain(
    run: RunDirectory,
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="the title of a row")],
    as_json: AsJson = False,
) -> None:
    """Derive each figure of one row: its formula, and the formula with the row's own numbers.

    For a variant it also says why its requests cost more or less than the baseline's. For a server that found
    prompts in its cache it also says what the same requests cost without a cache, and at APIs.
    """
    from bench.cli.api_pages import against_json
    from bench.report.formats import ascii_json, harmless
    from bench.results.explanation import explained, waterfall
    from bench.results.summary import load_run
    from bench.store.replay import load_record

    summary, record = load_run(run), load_record(run)
    row = _row(summary, variant)
    with showing(run):
        figures = list(explained(summary, record, row))
        cached = prompt_cache(summary, row)
        parts = None if row.is_baseline else waterfall(summary, record, row)
        shown = list(
            _page(harmless(summary), harmless(row), harmless(figures), harmless(parts), harmless(cached))
        )
    if as_json:
        data = {
            "row": row.title,
            "figures": [asdict(figure) for figure in figures],
            "waterfall": None if parts is None else [asdict(part) for part in parts],
            "prompt_cache": None if cached is None else against_json(cached),
        }
        print(ascii_json(data, indent=1))
    else:
        print("\n".join(shown))


def prompt_cache(run: RunSummary, row: Row) -> Comparison | None:
    """Compare a row whose server found prompts in its cache with APIs. Returns None for any other row."""
    from bench.cli.price_command import names_of_weights, today
    from bench.metrics.requests import CACHED
    from bench.plan.api_comparison import Question, against_apis
    from bench.stats.figure import value_of

    if not value_of(row.figure(CACHED)):
        return None
    asked = Question(today(), variants=(row.title,))
    comparison = against_apis(run, names_of_weights(run), asked)
    of_row = tuple(cached for cached in comparison.caches if cached.title == row.title)
    return replace(comparison, caches=of_row)


def _row(run: RunSummary, title: str) -> Row:
    rows = {row.title: row for row in run.rows}
    row = rows.get(title)
    if row is None:
        hint = did_you_mean(title, rows, f"it has {', '.join(rows)}")
        raise UsageError(f"no row called {title!r} in this run ({hint})")
    if not row.ok:
        raise UsageError(f"{title} has no figures: {row.status}: {one_line(row.reason)}")
    return row


def _page(
    run: RunSummary,
    row: Row,
    figures: list[Explained],
    parts: list[Part] | None,
    cached: Comparison | None,
) -> Iterator[str]:
    from bench.cli.cache_pages import cache_lines
    from bench.report.row_sentence import sentence
    from bench.results.explanation import bound_words
    from bench.results.paired_figures import product

    yield f"{run.name}, {row.title}: {sentence(run, row)}"
    if words := bound_words(row):
        yield words
    if parts is not None:
        yield from _waterfall(run, row, parts)
    elif not row.is_baseline:
        yield f"no way from the baseline's dollars to these: {_no_parts(row)}"
    if cached is not None:
        yield ""
        yield from cache_lines(cached, MOST_APIS)
    for figure in figures:
        yield ""
        unit = "" if figure.unit == "1" else f" {figure.unit}"
        yield f"{figure.key} = {_value(figure.shown.value)}{unit}{_bounds(figure)}"
        yield f"  = {with_ordinals(figure.formula)}"
        if figure.arithmetic is not None:
            yield f"  = {figure.arithmetic} = {_value(figure.alone)}"
        if figure.test is not None:
            yield f"  counted: {figure.test}"
        if figure.times is not None:
            paired = product(run, row, figure.key) is not None
            how = "the baseline's, times the ratio of both in turns" if paired else "scaled as its time is"
            yield f"  shown: {how}: {figure.times}"


def _no_parts(row: Row) -> str:
    """Say why the dollars of a row have no parts of prompts and of further tokens."""
    from bench.metrics import cascade

    if row.figure(cascade.EDGE) is not None:
        return "a cascade is paid in two places; its *_usd_per_request are the parts"
    if row.is_served:
        return "a server reads prompts and writes tokens in the same passes, so nothing is timed apart"
    return "prompts and further tokens were not timed apart"


def _waterfall(run: RunSummary, row: Row, parts: list[Part]) -> Iterator[str]:
    """Yield a table that leads from the baseline's dollars per million requests to the row's."""
    from bench.cli.tables import align
    from bench.metrics import cost
    from bench.results.paired_figures import shown

    ends = [shown(run, side, cost.PER_REQUEST) for side in (run.baseline_of(row), row)]
    start, end = (1e6 * usd.value if usd else 0.0 for usd in ends)
    once = row.figure("one_off_usd")
    lines = [
        ("a million requests", "USD", ""),
        ("  baseline", format_significant(start), ""),
        *((f"  {part.name}", f"{1e6 * part.usd:+.3g}", part.words) for part in parts),
        (f"  {row.title}", format_significant(end), ""),
    ]
    if once is not None:
        lines.append(("  once", format_significant(once.value), "calibration and training, not in the sum"))
    yield ""
    yield from align(lines)


def _value(value: float | None) -> str:
    """Write a figure with four digits, and a whole number whole, since it was counted."""
    whole = value is not None and float(value).is_integer()
    return f"{value:,.0f}" if whole else format_significant(value, 4)


def _bounds(figure: Explained) -> str:
    from bench.report.row_sentence import bounds_text

    text = bounds_text(figure.shown, lambda value: format_significant(value, 4))
    return f" {text}" if text else ""
