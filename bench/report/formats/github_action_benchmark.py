"""github-action-benchmark: figures as ``customSmallerIsBetter``, to plot them over commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.formatting import format_one_bound
from bench.gate.findings import Finding, GateBlock
from bench.metrics import all_metrics, cost, latency, memory, output_drift
from bench.metrics.comparisons import Comparison
from bench.report.formats import ascii_json, presented
from bench.report.gate_reading import HOLDS, bounds, in_words, relative, summary, unit_of
from bench.report.gate_sides import compared
from bench.results.paired_figures import shown_figure
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, Metric

SUFFIX = "action.json"
REQUIRES: tuple[str, ...] = ()

Entry = dict[str, str | float]
# The metrics of a row that are plotted. Smaller is better for all of them.
PLOTTED = (
    cost.PER_1K, latency.TTFT, latency.TPOT, latency.E2EL, memory.RSS, memory.ALLOCATED, memory.WEIGHTS,
    output_drift.KLD,
)  # fmt: skip
# The action writes a name between backticks into a table cell without escaping it.
_CELL = str.maketrans({"`": "'", "|": "¦"})


def render(runs: Sequence[RunSummary]) -> str:
    """Write a list of ``{name, unit, value}``, with ``range`` and ``extra`` where they are known.

    A gate's run has an entry for the number of rules that do not hold, and an entry for each rule with a
    figure. The action takes every increase as a regression, so the inverse is written if larger is better;
    the name then ends with ``(1 / figure)``. A missing figure has no entry, and is never written as 0.
    """
    entries = [entry for run in runs for entry in _entries(presented(run))]
    return ascii_json(entries, indent=1) + "\n"


def _entries(run: RunSummary) -> Iterator[Entry]:
    if run.gate:
        yield _verdict(run, run.gate)
        for rule in run.gate.rules:
            if rule.value is not None and not (_turned(rule) and rule.value == 0):
                yield _rule(run, rule)
    for row in run.rows:
        for metric in PLOTTED:
            if (figure := shown_figure(run, row, metric)) is not None:
                yield _figure(run, row, metric, figure)
        if (ratio := run.comparison(row, cost.PER_1K)) is not None:
            yield _ratio(run, row, ratio)


def _verdict(run: RunSummary, gate: GateBlock) -> Entry:
    about = compared(gate.effort)
    rules = [" ".join(in_words(rule).split()) for rule in gate.rules]
    said = [f"{gate.verdict}: {summary(gate)}", *about.lines, *rules]
    broken = sum(rule.verdict not in HOLDS for rule in gate.rules)
    return _entry(_name(run, "gate"), "rules that do not hold", broken, "", "\n".join(said))


def _rule(run: RunSummary, rule: Finding) -> Entry:
    assert rule.value is not None, "only rules with a figure are plotted"
    value, (low, high), unit, name = rule.value, bounds(rule), unit_of(rule), f"{rule.title}: {rule.rule}"
    if _turned(rule):
        low, high = (1 / bound if bound else None for bound in (high, low))
        value, unit, name = 1 / value, unit if relative(rule) else f"1/({unit})", f"{name} (1 / figure)"
    extra = f"{rule.verdict}: {rule.reason}\n{rule.units} units"
    return _entry(_name(run, f"gate: {name}"), unit, value, _range(value, low, high), extra)


def _turned(rule: Finding) -> bool:
    """Return whether larger is better. If the metric does not say so, the kind of limit decides."""
    metric = all_metrics().get(rule.metric)
    if metric is None or metric.better is None:
        return " min " in rule.rule or " max_decrease " in rule.rule
    return metric.better == "higher"


def _figure(run: RunSummary, row: Row, metric: Metric, figure: Figure) -> Entry:
    return _entry(
        _name(run, f"{row.title}: {metric.key}"),
        figure.unit,
        figure.value,
        _range(figure.value, figure.ci_low, figure.ci_high),
        figure.formula,
    )


def _ratio(run: RunSummary, row: Row, ratio: Comparison) -> Entry:
    return _entry(
        _name(run, f"{row.title}: {ratio.metric} ratio"),
        "ratio",
        ratio.ratio,
        _range(ratio.ratio, ratio.ci_low, ratio.ci_high),
        f"{ratio.verdict}, against {ratio.against}",
    )


def _entry(name: str, unit: str, value: float, interval: str, extra: str) -> Entry:
    range_ = {"range": interval} if interval else {}
    return {"name": name.translate(_CELL), "unit": unit.translate(_CELL), "value": value, **range_,
            "extra": extra}  # fmt: skip


def _name(run: RunSummary, what: str) -> str:
    """Name an entry without the run id, because the action finds the previous commit's entry by its name."""
    return f"{run.name}: {what}"


def _range(value: float, low: float | None, high: float | None) -> str:
    """Return ``± `` and the larger distance to a bound, as the action shows it, or the only known bound."""
    if low is not None and high is not None:
        return f"± {max(high - value, value - low):.4g}"
    if low is not None:
        return format_one_bound(value, low, upper=False)
    return "" if high is None else format_one_bound(value, high, upper=True)
