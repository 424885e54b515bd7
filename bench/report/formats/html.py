"""HTML: one self-contained page with the table, the picture, the evidence and every figure; no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bench.drift.grid import words
from bench.errors import Outcome
from bench.formatting import MIB, format_mib, format_significant
from bench.metrics import METRICS, cost
from bench.metrics.figure import value_of
from bench.report import scatter
from bench.report.columns import COLUMNS, pareto
from bench.report.formats import RunData, harmless, row_name
from bench.report.reading import (
    FRONT,
    comparison_of,
    interval_text,
    scored_words,
    sentence,
    timed_words,
    windows_words,
)
from bench.results.summary import NOT_A_FAILURE

SUFFIX = "html"
REQUIRES: tuple[str, ...] = ()

STEAL_WORTH_A_WORD = 0.01  # share of a stage's processor time that the hypervisor gave to others
_EXTRAS = ("p50", "p90", "p95", "p99", "min", "max")


@dataclass(frozen=True)
class FigureRow:
    """One metric across the variants of a cell; ``cells`` are (headline, the rest) or None each."""

    key: str
    unit: str
    formula: str
    cells: tuple[tuple[str, str] | None, ...]


def render(runs: Sequence[RunData]) -> str:
    """One page for all runs, one section each; opens from a disk without a network."""
    return _template().render(runs=[_Page(harmless(run)) for run in runs])


@cache
def _template() -> Template:
    """Autoescaping is on for everything; an unknown name in the template is an error, not a blank."""
    environment = Environment(
        loader=PackageLoader("bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "sig": format_significant,
        "mib": format_mib,
        "percent": _percent,
        "row_name": row_name,
        "interval": interval_text,
    }
    environment.globals |= {
        "columns": COLUMNS,
        "front": FRONT,
        "grid_words": words,
        "timed_words": timed_words,
        "scored_words": scored_words,
        "plot": scatter,
        "sparkline": sparkline,
        "steal_worth_a_word": STEAL_WORTH_A_WORD,
    }
    return environment.get_template("report.html.j2")


@dataclass(frozen=True)
class _Page:
    """What the template asks of one run."""

    run: RunData

    @property
    def groups(self) -> tuple[str, ...]:
        """The cells of the sweep in their order; one, without a name, where nothing is swept."""
        return tuple(dict.fromkeys(variant["group"] for variant in self.run["variants"]))

    def cells(self, variant: Mapping[str, Any]) -> list[tuple[str, str]]:
        """A row of the result table: each figure and its interval."""
        return [(column.cell(self.run, variant), column.interval(self.run, variant)) for column in COLUMNS]

    def sentence(self, variant: Mapping[str, Any]) -> str:
        """What the row says."""
        return str(harmless(sentence(self.run, variant)))

    def verdict(self, variant: Mapping[str, Any]) -> str:
        """How the row ended if badly, else its verdict on cost."""
        if variant["status"] != Outcome.OK or variant["is_baseline"]:
            return "baseline" if variant["status"] == Outcome.OK else str(variant["status"])
        one = comparison_of(self.run, variant, cost.PER_1K.key)
        return str(one["verdict"]) if one else "not compared"

    def tone(self, variant: Mapping[str, Any]) -> str:
        """The colour of that verdict, as the name of a CSS class."""
        found = self.verdict(variant)
        if found in ("better", "worse", "cannot tell"):
            return found.replace(" ", "-")
        return "muted" if variant["status"] in NOT_A_FAILURE else "worse"

    def on_front(self, variant: Mapping[str, Any]) -> bool:
        """Nothing in its cell is both cheaper and closer to the baseline."""
        return variant["name"] in pareto(self.run, variant["group"])

    def ratios(self, variant: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Every comparison of this row with the baseline of its cell."""
        wanted = (variant["name"], variant["group"])
        return [one for one in self.run["comparisons"] if (one["variant"], one["group"]) == wanted]

    def picture(self, group: str) -> scatter.Scatter | None:
        """Cost against drift within one cell."""
        return scatter.scatter(scatter.data_of(self.run, group))

    def not_drawn(self, group: str) -> list[str]:
        """Rows of a cell that have no place in its picture."""
        drawn = {datum.name for datum in scatter.data_of(self.run, group)}
        return [v["name"] for v in self.run["variants"] if v["group"] == group and v["name"] not in drawn]

    def measured(self, group: str) -> list[Mapping[str, Any]]:
        """The variants of one cell that have any figure."""
        rows = [variant for variant in self.run["variants"] if variant["group"] == group]
        return [row for row in rows if any({**row["metrics"], **row["drift"]}.values())]

    def figures(self, group: str) -> list[FigureRow]:
        """Every metric that at least one variant of the cell has."""
        return [row for row in self._figure_rows(group) if any(row.cells)]

    def unmeasured(self, group: str) -> list[str]:
        """Metrics that no variant of the cell has."""
        return [row.key for row in self._figure_rows(group) if not any(row.cells)]

    def _figure_rows(self, group: str) -> list[FigureRow]:
        columns = [{**variant["metrics"], **variant["drift"]} for variant in self.measured(group)]
        return [
            _figure_row(key, [column.get(key) for column in columns])
            for key in dict.fromkeys(key for column in columns for key in column)
        ]


def _figure_row(key: str, figures: Sequence[dict[str, Any] | None]) -> FigureRow:
    """The unit and the formula as they stand in the run; our own where no variant has the figure."""
    found = next((figure for figure in figures if figure), None)
    metric = METRICS.get(key)
    unit = str(found["unit"]) if found else metric.unit if metric else ""
    formula = str(found["formula"]) if found else metric.formula if metric else ""
    return FigureRow(key, unit, formula, tuple(_figure_cell(figure, unit) for figure in figures))


def _figure_cell(figure: dict[str, Any] | None, unit: str) -> tuple[str, str] | None:
    """The headline number, and its interval with whatever else the figure holds."""
    if figure is None:
        return None
    parts = []
    if figure.get("ci_low") is not None and figure.get("ci_high") is not None:
        parts.append(f"[{_number(figure['ci_low'], unit)} to {_number(figure['ci_high'], unit)}]")
    parts += [f"{key} {_number(figure[key], unit)}" for key in _EXTRAS if figure.get(key) is not None]
    if figure.get("n") is not None:
        parts.append(f"n {figure['n']}")
    if figure.get("windows") is not None:
        parts.append(windows_words(figure))
    unbroken = (part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    return _number(value_of(figure), unit), " · ".join(unbroken)


def _number(value: float | None, unit: str) -> str:
    """Bytes as MiB from one MiB on; anything else with three significant digits."""
    if value is not None and unit == "B":
        return f"{format_mib(value)} MiB" if abs(value) >= MIB else f"{value:,.0f}"
    return format_significant(value)


def _percent(share: float | None, digits: int = 0) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def sparkline(values: Sequence[float], width: float, height: float) -> tuple[tuple[float, float], ...]:
    """Points of a small line over ``values``: 0 at the bottom, the largest at the top."""
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    if largest <= 0:
        return ()
    step = width / max(len(values) - 1, 1)
    shown = ((i, v) for i, v in enumerate(values) if math.isfinite(v))
    return tuple((round(i * step, 1), round(height * (1 - max(v, 0.0) / largest), 1)) for i, v in shown)
