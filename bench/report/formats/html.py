"""HTML: one self-contained page with the table, the picture, the evidence and every figure; no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bench.formatting import MIB, count, format_mib, format_setting, format_significant, with_ordinals
from bench.metrics import all_metrics
from bench.metrics.comparisons import Comparison
from bench.records import Facts
from bench.records.grid import words
from bench.report import cascade_picture, interactivity, quality_picture, scatter
from bench.report.behaviour import spoiled
from bench.report.formats import harmless, presented
from bench.report.gate_reading import TONES, advice_on, measured, verdict_on
from bench.report.gate_sides import Compared, compared
from bench.report.kernel_names import short
from bench.report.notes import drift_note, front_words, timed_words, windows_words
from bench.report.row_sentence import interval_text, sentence
from bench.report.table_columns import Column, columns_of
from bench.results.headline import headline
from bench.results.paired_figures import alone, shown
from bench.results.row import Evidence, Row
from bench.results.run_summary import RunSummary
from bench.results.summarise import NOT_A_FAILURE
from bench.stats.ratio_verdict import Verdict

SUFFIX = "html"
REQUIRES: tuple[str, ...] = ()

STEAL_WORTH_A_WORD = 0.01  # share of stolen processor time in a stage above which the page mentions it
_NOISE = ("steal_share", "busy_share", "load1_before")
_EXTRAS = ("p50", "p90", "p95", "p99", "min", "max")


@dataclass(frozen=True)
class FigureRow:
    """One metric across the variants of a cell; each of ``cells`` is (value, other numbers) or None."""

    key: str
    unit: str
    formula: str
    cells: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True)
class Quiet:
    """How quiet the machine was in a stage: stolen and busy shares of the processors, and the load before."""

    stage: str
    steal_share: float
    busy_share: float
    load1_before: float


def render(runs: Sequence[RunSummary]) -> str:
    """Write one page for all runs, with a section for each. The page needs no network and no other file."""
    return _template().render(runs=[_Page(presented(run)) for run in runs])


@cache
def _template() -> Template:
    """Load the template. All values are escaped, and an unknown name in it is an error instead of a blank."""
    environment = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sig": format_significant, "mib": format_mib, "percent": _percent, "setting": format_setting,
        "counted": count, "interval": interval_text, "measured": measured, "kernel": short,
    }  # fmt: skip
    environment.globals |= {
        "advice_on": advice_on,
        "tones": TONES,
        "front_words": front_words,
        "grid_words": words,
        "timed_words": timed_words,
        "drift_note": drift_note,
        "plot": scatter,
        "curve_plot": cascade_picture,
        "quality_plot": quality_picture,
        "sweep_plot": interactivity,
        "sparkline": sparkline,
        "steal_worth_a_word": STEAL_WORTH_A_WORD,
        "no_evidence": Evidence(),
        "no_facts": Facts("", "", 0, False),
    }
    return environment.get_template("report.html.j2")


@dataclass(frozen=True)
class _Page:
    """The view of one run that the template uses."""

    run: RunSummary

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the sweep's cells in order; without a sweep there is one cell called ''."""
        return self.run.groups

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the result table."""
        return columns_of(self.run)

    @property
    def compared(self) -> Compared | None:
        """Return what the run's gate compared, or None without a gate."""
        return compared(self.run.gate.effort) if self.run.gate else None

    def cells(self, row: Row) -> list[tuple[str, str]]:
        """Return a row of the result table as (figure, interval) pairs."""
        return [(column.cell(self.run, row), column.interval(self.run, row)) for column in self.columns]

    def sentence(self, row: Row) -> str:
        """Return the sentence that describes the row."""
        return harmless(sentence(self.run, row))

    def spoiled(self, row: Row) -> bool:
        """Return whether the row is cheaper but its output is worse or much different."""
        return spoiled(self.run, row)

    def verdict(self, row: Row) -> str:
        """Return the status of a failed row, else the gate's verdict on it, else the verdict on its cost."""
        if row.ok and (judged := verdict_on(self.run, row)):
            return str(judged)
        if not row.ok or row.is_baseline:
            return "baseline" if row.ok else str(row.status)
        ratio = headline(self.run, row)
        return str(ratio.verdict) if ratio else "not compared"

    def tone(self, row: Row) -> str:
        """Return the CSS class with the colour of the row's verdict."""
        if row.ok and (judged := verdict_on(self.run, row)):
            return TONES[judged]
        verdict = self.verdict(row)
        if verdict in tuple(Verdict):
            return verdict.replace(" ", "-")
        return "muted" if row.status in NOT_A_FAILURE else "worse"

    def on_front(self, row: Row) -> bool:
        """Return whether no row in its cell is both cheaper and closer to the baseline."""
        return self.run.on_front(row)

    def ratios(self, row: Row) -> list[Comparison]:
        """Return every comparison of this row with the baseline of its cell."""
        return self.run.ratios_of(row)

    def noise(self, row: Row) -> list[Quiet]:
        """Return how quiet the machine was during each stage of a row."""
        return [Quiet(each["stage"], *(float(each.get(key) or 0.0) for key in _NOISE)) for each in row.noise]

    def picture(self, group: str) -> scatter.Scatter | None:
        """Return the picture of cost against drift in one cell, or None if there is nothing to draw."""
        return scatter.scatter(scatter.data_of(self.run, group))

    @property
    def curves(self) -> interactivity.Picture | None:
        """Return the picture of throughput against the speed for one user, or None without a sweep."""
        return interactivity.picture(self.run)

    def not_drawn(self, group: str) -> list[str]:
        """Return the names of the rows of a cell that its picture does not show."""
        drawn = {datum.name for datum in scatter.data_of(self.run, group)}
        return [row.name for row in self.run.rows if row.group == group and row.name not in drawn]

    def measured(self, group: str) -> list[Row]:
        """Return the rows of one cell that have at least one figure."""
        rows = [row for row in self.run.rows if row.group == group]
        return [row for row in rows if any(figure for _key, figure in row.figures())]

    def figures(self, group: str) -> list[FigureRow]:
        """Return every metric that at least one variant of the cell has."""
        return [row for row in self._figure_rows[group] if any(row.cells)]

    def unmeasured(self, group: str) -> list[str]:
        """Return the keys of the metrics that no variant of the cell has."""
        return [row.key for row in self._figure_rows[group] if not any(row.cells)]

    @cached_property
    def _figure_rows(self) -> dict[str, list[FigureRow]]:
        return {group: _figure_rows(self.run, self.measured(group)) for group in self.groups}


def _figure_rows(run: RunSummary, rows: Sequence[Row]) -> list[FigureRow]:
    keys = dict.fromkeys(key for row in rows for key, _figure in row.figures())
    return [_figure_row(key, run, rows) for key in keys]


def _figure_row(key: str, run: RunSummary, rows: Sequence[Row]) -> FigureRow:
    """Make the row of one metric. If no variant has the figure, this version knows its unit and formula."""
    source = next((figure for row in rows if (figure := row.figure(key))), all_metrics().get(key))
    unit, formula = (source.unit, with_ordinals(source.formula)) if source else ("", "")
    return FigureRow(key, unit, formula, tuple(_figure_cell(key, run, row, unit) for row in rows))


def _figure_cell(key: str, run: RunSummary, row: Row, unit: str) -> tuple[str, str] | None:
    """Return (value, interval and other numbers of the figure), or None without a figure.

    If the row's own figure, measured alone, is not the one that is shown, it comes after the interval, before
    the percentiles, which belong to it.
    """
    figure, interval = row.figure(key), shown(run, row, key)
    if figure is None or interval is None:
        return None
    parts = []
    if interval.low is not None and interval.high is not None:
        parts.append(f"[{_number(interval.low, unit)} to {_number(interval.high, unit)}]")
    if interval.value != (own := alone(figure)):
        parts.append(f"alone {_number(own, unit)}")
    if figure.sample is not None:
        percentiles = [(key, getattr(figure.sample, key)) for key in _EXTRAS]
        parts += [f"{key} {_number(value, unit)}" for key, value in percentiles if value is not None]
    n = figure.sample.n if figure.sample else figure.notes.get("n")
    if n is not None:
        parts.append(f"n {n}")
    if figure.notes.get("windows") is not None:
        parts.append(windows_words(figure.notes))
    unbroken = (part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    return _number(interval.value, unit), " · ".join(unbroken)


def _number(value: float | None, unit: str) -> str:
    """Format a value with three significant digits, and bytes as MiB, or as a whole number below one MiB."""
    if value is not None and unit == "B":
        return f"{format_mib(value)} MiB" if abs(value) >= MIB else f"{value:,.0f}"
    return format_significant(value)


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def sparkline(values: Sequence[float], width: float, height: float) -> tuple[tuple[float, float], ...]:
    """Return the points of a small curve of ``values``, with 0 at the bottom and the largest value on top."""
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    if largest <= 0:
        return ()
    step = width / max(len(values) - 1, 1)
    shown = ((i, v) for i, v in enumerate(values) if math.isfinite(v))
    return tuple((round(i * step, 1), round(height * (1 - max(v, 0.0) / largest), 1)) for i, v in shown)
