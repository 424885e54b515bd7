"""The columns of the result table, the same in every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.formatting import format_mib, format_share, format_significant
from bench.metrics import cost, latency, memory, output_drift, throughput
from bench.metrics.figure import Metric, value_of
from bench.report.reading import bounds_text, comparison_of, interval_text, kl_above_floor, timed_figure

Row = Mapping[str, Any]
Cell = Callable[[Row, Row], str]
Show = Callable[[float | None], str]


def _none(_run: Row, _variant: Row) -> str:
    return ""


@dataclass(frozen=True)
class Column:
    """``cell`` makes a row's text from (run, variant), ``interval`` its 95 % interval where there is room for
    it; ``key`` names the column in code."""

    key: str
    title: str
    cell: Cell
    right: bool = True
    interval: Cell = _none


def _figure(key: str, title: str, metric: Metric, show: Show = format_significant) -> Column:
    """A metric's column; any figure with bounds shows them."""

    def figure(variant: Row) -> Row | None:
        found: Row | None = {**variant["metrics"], **variant["drift"]}.get(metric.key)
        return found

    return Column(
        key,
        title,
        lambda _run, variant: show(value_of(figure(variant))),
        interval=lambda _run, variant: bounds_text(figure(variant), show),
    )


def _timed(key: str, title: str, metric: Metric) -> Column:
    """A column of time or money."""
    return Column(
        key,
        title,
        lambda run, variant: format_significant(value_of(timed_figure(run, variant, metric))),
        interval=lambda run, variant: bounds_text(timed_figure(run, variant, metric), format_significant),
    )


def _name(run: Row, variant: Row) -> str:
    mark = " *" if variant["name"] in pareto(run, variant["group"]) else ""
    return " ".join(filter(None, (variant["group"], variant["name"]))) + mark


def _peak(_run: Row, variant: Row) -> str:
    """What the row itself held on the GPU where there is one, else the process's memory."""
    allocated = value_of(variant["metrics"].get(memory.ALLOCATED.key))
    return format_mib(
        allocated if allocated is not None else value_of(variant["metrics"].get(memory.RSS.key))
    )


def _ratio(run: Row, variant: Row) -> str:
    if variant["is_baseline"]:
        return "1" if variant["status"] == "ok" else "-"
    one = comparison_of(run, variant, cost.PER_1K.key)
    return interval_text(one) + (" ~" if one and one["design"] == "solo" else "")


def _verdict(run: Row, variant: Row) -> str:
    if variant["status"] != "ok":
        return str(variant["status"])
    one = comparison_of(run, variant, cost.PER_1K.key)
    return "" if one is None else str(one["verdict"])


def _kl(_run: Row, variant: Row) -> str:
    figure = variant["drift"].get(output_drift.KLD.key)
    if figure is None:
        return "-"
    return format_significant(figure["value"]) if kl_above_floor(figure) else "≤ floor"


def _kl_interval(_run: Row, variant: Row) -> str:
    figure = variant["drift"].get(output_drift.KLD.key)
    return bounds_text(figure, format_significant) if figure and kl_above_floor(figure) else ""


COLUMNS = (
    Column("variant", "variant", _name, right=False),
    _timed("ttft", "TTFT ms", latency.TTFT),
    _timed("tpot", "TPOT ms", latency.TPOT),
    _timed("output_throughput", "out tok/s", throughput.OUTPUT),
    _figure("weights", "weights MiB", memory.WEIGHTS, format_mib),
    Column("peak", "peak MiB", _peak),
    _timed("cost", "$/1k tok", cost.PER_1K),
    Column("ratio", "cost ratio [95 %]", _ratio),
    Column("verdict", "verdict", _verdict, right=False),
    Column("kl", "KL nat", _kl, interval=_kl_interval),
    _figure("top1", "top-1", output_drift.TOP1, format_share),
)


def pareto(run: Row, group: str) -> set[str]:
    """Names on the front of cost against drift: nothing else in the cell is both cheaper and closer.

    A cost ratio whose interval holds 1 counts as 1, drift within the noise floor as 0.
    """
    points = [
        (ratio, drift, variant["name"])
        for variant in run["variants"]
        if variant["group"] == group and variant["status"] == "ok"
        if (ratio := _front_ratio(run, variant)) is not None and (drift := _front_drift(variant)) is not None
    ]
    return {
        name
        for ratio, drift, name in points
        if not any(r <= ratio and d <= drift and (r, d) != (ratio, drift) for r, d, _ in points)
    }


def _front_ratio(run: Row, variant: Row) -> float | None:
    one = comparison_of(run, variant, cost.PER_1K.key)
    if variant["is_baseline"] or (one and one["verdict"] == "cannot tell"):
        return 1.0
    return float(one["ratio"]) if one else None


def _front_drift(variant: Row) -> float | None:
    figure = variant["drift"].get(output_drift.KLD.key)
    if variant["is_baseline"]:
        return 0.0
    return None if figure is None else float(figure["value"]) if kl_above_floor(figure) else 0.0
