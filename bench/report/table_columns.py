"""Define the columns of the result table, which are the same in every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.formatting import format_mib, format_share, format_significant
from bench.metrics import (
    answers,
    cascade,
    cost,
    device,
    encoded,
    goodput,
    latency,
    memory,
    output_drift,
    requests,
    roofline,
    throughput,
    under_load,
)
from bench.report.encoders import cosine_text, share_text
from bench.report.gate_reading import verdict_on
from bench.report.row_sentence import bounds_text, interval_text
from bench.results.headline import by_answer, headline
from bench.results.paired_figures import in_turns, shown
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Metric, value_of

Cell = Callable[[RunSummary, Row], str]
Show = Callable[[float | None], str]


def _none(_run: RunSummary, _row: Row) -> str:
    return ""


@dataclass(frozen=True)
class Column:
    """A column of the table; ``key`` names it in code and in ``--columns``.

    ``cell`` makes the text of a row from (run, row), and ``interval`` the text of its 95 % interval, for
    formats that have room for it.
    """

    key: str
    title: str
    cell: Cell
    right: bool = True
    interval: Cell = _none


def figure_column(key: str, title: str, metric: Metric | str, show: Show = format_significant) -> Column:
    """Make the column of a metric, with an interval for figures that have bounds."""

    def value(run: RunSummary, row: Row) -> str:
        interval = shown(run, row, metric)
        return show(interval.value if interval else None)

    def bounds(run: RunSummary, row: Row) -> str:
        return bounds_text(shown(run, row, metric), show)

    return Column(key, title, value, interval=bounds)


def _name(run: RunSummary, row: Row) -> str:
    return row.title + (" *" if run.on_front(row) else "")


def _peak(_run: RunSummary, row: Row) -> str:
    """Show the row's memory on the GPU if it was measured, else the memory of its process."""
    on_gpu = row.figure(memory.ALLOCATED) or row.figure(memory.DEVICE)
    return format_mib(value_of(on_gpu or row.figure(memory.RSS)))


def _ratio(run: RunSummary, row: Row) -> str:
    if row.is_baseline:
        return "1" if row.ok else "-"
    ratio = headline(run, row)
    return interval_text(ratio) + (" ~" if ratio and not in_turns(ratio) else "")


def _verdict(run: RunSummary, row: Row) -> str:
    """Show the status of a row that failed, else the gate's verdict on it, else the verdict on its cost."""
    if not row.ok:
        return str(row.status)
    if judged := verdict_on(run, row):
        return str(judged)
    ratio = headline(run, row)
    return str(ratio.verdict) if ratio else ""


def _answer_tokens(_run: RunSummary, row: Row) -> str:
    """Show the mean tokens of an answer, and in parentheses those of its reasoning if they are known."""
    tokens, reasoning = row.figure(answers.TOKENS), row.figure(answers.REASONING)
    if tokens is None:
        return "-"
    cut = "≥ " if tokens.notes.get("cut") else ""
    thought = f" ({reasoning.value:.0f})" if reasoning else ""
    return f"{cut}{tokens.value:.0f}{thought}"


def _kl(_run: RunSummary, row: Row) -> str:
    figure = row.figure(output_drift.KLD)
    if figure is None:
        return "-"
    return format_significant(figure.value) if output_drift.above_floor(figure) else "≤ floor"


def _kl_interval(_run: RunSummary, row: Row) -> str:
    figure = row.figure(output_drift.KLD)
    return (
        bounds_text(figure.interval, format_significant)
        if figure and output_drift.above_floor(figure)
        else ""
    )


COLUMNS = (
    Column("variant", "variant", _name, right=False),
    figure_column("ttft", "TTFT ms", latency.TTFT),
    figure_column("tpot", "TPOT ms", latency.TPOT),
    figure_column("output_throughput", "out tok/s", throughput.OUTPUT),
    figure_column("weights", "weights MiB", memory.WEIGHTS, format_mib),
    Column("peak", "peak MiB", _peak),
    figure_column("cost", "$/1k tok", cost.PER_1K),
    Column("ratio", "cost ratio [95 %]", _ratio),
    Column("verdict", "verdict", _verdict, right=False),
    Column("kl", "KL nat", _kl, interval=_kl_interval),
    figure_column("top1", "top-1", output_drift.TOP1, format_share),
)

OF_ANSWERS = (
    Column("answer", "tok/answer (reasoning)", _answer_tokens),
    figure_column("answer_cost", "$/answer", answers.PER_ANSWER),
)

OF_CASCADES = (
    figure_column("sent_on", "sent on", cascade.RATE, format_share),
    figure_column("edge_usd", "edge $/req", cascade.EDGE),
    figure_column("cloud_usd", "cloud $/req", cascade.CLOUD),
)

# How well a GPU is used. The table of a run on a CPU does not have these, because it is wide already.
GPU_COLUMNS = (
    figure_column("busy", "GPU busy", device.SHARE, format_share),
    figure_column("mbu", "MBU", roofline.MBU, format_share),
    figure_column("mfu", "MFU", roofline.MFU, format_share),
)


SHARED = {column.key: column for column in COLUMNS}
OF_SERVERS = (
    SHARED["variant"],
    SHARED["ttft"],
    figure_column("ttft_p90", "TTFT p90", under_load.PERCENTILES[latency.TTFT, 90]),
    SHARED["tpot"],
    figure_column("e2el", "E2EL ms", latency.E2EL),
    SHARED["output_throughput"],
    SHARED["peak"],
    figure_column("errors", "errors", requests.ERRORS, format_share),
    figure_column("good", "good", goodput.FRACTION, format_share),
    SHARED["cost"],
    figure_column("cost_good", "$/good req", goodput.PER_GOOD),
    SHARED["ratio"],
    SHARED["verdict"],
)
OF_ENCODERS = (
    SHARED["variant"],
    figure_column("e2el", "ms/request", latency.E2EL),
    figure_column("total_throughput", "tok/s", throughput.TOTAL),
    SHARED["weights"],
    SHARED["peak"],
    SHARED["cost"],
    SHARED["ratio"],
    SHARED["verdict"],
)
OF_TASKS = {
    "embedding": (
        figure_column("cosine", "cosine", encoded.COSINE, cosine_text),
        figure_column("cosine_p01", "worst 1 %", encoded.COSINE_P01, cosine_text),
        figure_column("ranks", "ranks", encoded.RANKS, cosine_text),
        figure_column("first", "same first", encoded.FIRST, format_share),
    ),
    "classification": (figure_column("flips", "flips", encoded.FLIPS, share_text),),
}
OF_DRIFT = (SHARED["kl"], SHARED["top1"])


def columns_of(run: RunSummary) -> tuple[Column, ...]:
    """Return the columns of a run's table.

    It has columns of answers if a row is judged by its answers, of cascades if a row is a cascade, and of a
    GPU if a row ran on one. Servers and encoders have other columns. The table of a gate's run has only the
    columns in which a variant has a figure, because most gates measure ratios in turns and no row alone.
    """
    if run.served:
        limited = goodput.PER_GOOD.key in {row.headline.key for row in run.rows}
        compared = any(row.figure(output_drift.KLD) for row in run.rows)
        shown = (*OF_SERVERS, *OF_DRIFT) if compared else OF_SERVERS
        return tuple(column for column in shown if limited or column.key not in ("good", "cost_good"))
    task = next((row.runtime.get("task") for row in run.rows), None)
    every = (*OF_ENCODERS, *OF_TASKS.get(str(task), ())) if task else COLUMNS
    if run.gate is None and task:
        return every
    if run.gate is None:
        place = [column.key for column in COLUMNS].index("ratio")
        of_answers = OF_ANSWERS if any(by_answer(run, row) for row in run.rows) else ()
        routed = any(row.figure(cascade.RATE) for row in run.rows)
        of_answers = (*of_answers, *(OF_CASCADES if routed else ()))
        on_gpu = any(row.facts is not None and row.facts.on_gpu for row in run.rows)
        return (*COLUMNS[:place], *of_answers, *COLUMNS[place:], *(GPU_COLUMNS if on_gpu else ()))
    rows = [row for row in run.rows if not row.is_baseline]
    always = ("variant", "verdict")
    return tuple(
        column
        for column in every
        if column.key in always or any(column.cell(run, row) not in ("", "-") for row in rows)
    )
