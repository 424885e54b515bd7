"""Print all drift figures of a run, row by row: ``bench compare RUN --drift``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.drift.suites import generation
from bench.formatting import format_share, format_significant, printable
from bench.metrics import drift_parts, drift_tails, encoded, numerics, output_drift, repetition, reply_texts
from bench.metrics.drift_statistics import STATISTICS
from bench.report.bands import band
from bench.report.encoders import cosine_text, share_text
from bench.report.notes import windows_words
from bench.report.row_sentence import bounds_text
from bench.results.explanation import counted_words
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, Metric

NONE = "No row has drift figures: random weights, drift.tokens of 0, or none was measured."
LABEL = 20  # characters of the first column
ENCODED = (
    ("cosine", encoded.COSINE, cosine_text), ("  worst 1 %", encoded.COSINE_P01, cosine_text),
    ("rank correlation", encoded.RANKS, cosine_text), ("same first document", encoded.FIRST, share_text),
    ("  own first, change", encoded.FOUND, share_text), ("other labels", encoded.FLIPS, share_text),
    ("  right, change", encoded.RIGHT, share_text),
)  # fmt: skip
QUANTILES = ("p01", "p05", "p10", "median", "p90", "p95", "p99", "p999")
NAMES = {"p01": "1 %", "p05": "5 %", "p10": "10 %", "p90": "90 %", "p95": "95 %", "p99": "99 %",
         "p999": "99.9 %", "max": "largest", "min": "smallest"}  # fmt: skip


def render(run: RunSummary) -> str:
    """Return a block of lines for every variant that has drift figures, or a sentence if none has any."""
    blocks = [lines for row in run.rows if row.ok and not row.is_baseline and (lines := list(_row(run, row)))]
    return "\n\n".join("\n".join(lines) for lines in blocks) or NONE


def _row(run: RunSummary, row: Row) -> Iterator[str]:
    lines = [
        *_distribution(row), *_encoded(row), *_texts(row), *_replies(row), *_numbers(row), *_suites(run, row)
    ]  # fmt: skip
    if lines:
        yield printable(row.title)
        yield from (f"  {label:<{LABEL}}{words}" for label, words in lines if words)


def _suites(run: RunSummary, row: Row) -> Iterator[tuple[str, str]]:
    for tested in run.behaviour.get(row.key, ()):
        figure = tested.figure
        shown = f"{format_significant(figure.value)} {bounds_text(figure.interval, format_significant)}"
        verdict = tested.verdict.value if tested.verdict is not None else "no verdict"
        yield "suite", f"{tested.suite}: {shown}, {counted_words(figure)}: {verdict}"


def _distribution(row: Row) -> Iterator[tuple[str, str]]:
    kld = row.figure(output_drift.KLD)
    if kld is None:
        return
    if kld.notes.get("windows"):  # runs of earlier versions have none
        yield "scored on", f"{kld.notes['n']:,} positions in {windows_words(kld.notes)}"
    yield "KL(base‖variant)", f"{_with_error(kld)} nat: {band(row)}"
    tails = {**drift_tails.KLD, "p99": output_drift.KLD_P99}
    yield "  quantiles", _quantiles(row, tails, (*QUANTILES, "max"), output_drift.KLD_MAX)
    yield "  noise floor", _floors(kld)
    yield "  by place", _each(row, drift_parts.PLACES)
    yield "  by next token", _each(row, drift_parts.TOKENS)
    yield "  by script", _each(row, drift_parts.SCRIPTS)
    for statistic in STATISTICS.values():
        yield statistic.METRIC.key, _with_error(row.figure(statistic.METRIC))
    yield "same next token", _with_error(row.figure(output_drift.TOP1))
    yield "Δp mean", _with_error(row.figure(drift_tails.MEAN_DELTA_P))
    yield "  root mean square", _with_error(row.figure(output_drift.RMS))
    yield "  quantiles", _quantiles(row, drift_tails.DELTA_P, ("min", *QUANTILES, "max"))
    ratio = row.figure(drift_tails.LN_RATIO)
    tied = ratio.notes.get("correlation") if ratio else None
    yield "ln PPL ratio", _with_error(ratio) + (f", correlation {100 * tied:.3f} %" if tied else "")
    yield "PPL change", _with_error(row.figure(drift_tails.CHANGE))


def _encoded(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the lines of an encoder: about its vectors and rankings, or about its labels."""
    for label, metric, show in ENCODED:
        figure = row.figure(metric)
        if figure is not None:
            yield label, f"{show(figure.value)} {bounds_text(figure.interval, show)} of {figure.notes['n']}"


def _texts(row: Row) -> Iterator[tuple[str, str]]:
    same = row.figure(reply_texts.EXACT)
    if same is None:
        return
    yield (
        "drift by text",
        f"{same.notes.get('n')} replies of at most {same.notes.get('output_tokens')} tokens",
    )
    for metric in reply_texts.METRICS:
        figure = row.figure(metric)
        if figure is not None:
            again = figure.notes.get("again")
            itself = f", the baseline itself {format_significant(again)}" if again is not None else ""
            yield f"  {metric.key.removeprefix('text_')}", f"{_with_error(figure)}{itself}"


def _with_error(figure: Figure | None) -> str:
    """Return a figure as ``0.0123 ± 0.0004 [0.0113, 0.0135]``.

    After ± comes the standard error over positions, and in brackets the 95 % interval over windows.
    """
    if figure is None:
        return ""
    error = figure.notes.get("se")
    shown = format_significant(figure.value) + (
        f" ± {format_significant(error)}" if error is not None else ""
    )
    return f"{shown} {bounds_text(figure.interval, format_significant)}".rstrip()


def _quantiles(
    row: Row, metrics: dict[str, Metric], names: Sequence[str], largest: Metric | None = None
) -> str:
    known = {**metrics, **({"max": largest} if largest else {})}
    figures = ((name, row.figure(known[name])) for name in names if name in known)
    return ", ".join(
        f"{NAMES.get(name, name)} {format_significant(figure.value)}" for name, figure in figures if figure
    )


def _floors(kld: Figure) -> str:
    floors = kld.notes.get("floors") or {}
    shown = ", ".join(f"other {name} {format_significant(value)}" for name, value in floors.items())
    return shown.replace("other batch", "in a batch") or "not measured"


def _each(row: Row, metrics: dict[str, Metric]) -> str:
    """Return the mean KL of each part of the positions, with the share of equal next tokens."""
    figures = ((name, row.figure(metric)) for name, metric in metrics.items())
    return ", ".join(
        f"{name.replace('_', ' ')} {format_significant(part.value)} ({format_share(part.notes.get('top1'))})"
        for name, part in figures
        if part
    )


def _replies(row: Row) -> Iterator[tuple[str, str]]:
    exact, length = row.figure(generation.EXACT), row.figure(generation.LENGTH)
    if exact is not None:
        yield "same replies", f"{format_share(exact.value)} of {exact.notes.get('n')}"
        yield "first difference", _divergence(row)
        yield "edit distance", _with_error(row.figure(generation.EDITS))
    if length is not None:
        outside = ", outside 0.9 to 1.1" if generation.other_lengths(length) else ""
        yield "length ratio", _with_error(length) + outside
    yield "repetition", _with_error(row.figure(repetition.RATE))
    loops = row.figure(repetition.COLLAPSED)
    yield "end in a loop", f"{format_share(loops.value)} of {loops.notes.get('n')}" if loops else ""


def _divergence(row: Row) -> str:
    """Return the median token of the first difference, its rate, and a few points of the survival curve."""
    half, rate = row.figure(generation.MEDIAN), row.figure(generation.RATE)
    first = row.figure(generation.DIVERGENCE)
    curve = (first.notes.get("survival") or []) if first else []
    known = [(step[0], step[1]) for step in curve if None not in step[:2]]
    chosen = known[:: max(len(known) // 4, 1)]
    parts = [
        f"half differ by token {half.value:.0f}" if half else "fewer than half differ",
        f"{format_significant(rate.value)} a token" if rate else "",
        "still the same after " + ", ".join(f"{s[0]:.0f}: {format_share(s[1])}" for s in chosen)
        if chosen
        else "",
    ]
    return "; ".join(part for part in parts if part)


def _numbers(row: Row) -> Iterator[tuple[str, str]]:
    reach, ratio = row.figure(numerics.RANGE), row.figure(numerics.RATIO)
    if reach is not None:
        times = f", {format_significant(ratio.value)} times the baseline's" if ratio else ""
        yield "logit range", _with_error(reach) + times
    cut, near = row.figure(numerics.SATURATED), row.figure(numerics.FURTHEST)
    if cut is not None and near is not None:
        at_end = f"{cut.value:.0f} of {cut.notes.get('n')} at the end of {cut.notes.get('format')}"
        yield "activations", f"{at_end}, the furthest at {format_significant(near.value)} of it"
    for label, metric in (("other process", numerics.OTHER_RUNS), ("in a batch", numerics.IN_BATCH)):
        figure = row.figure(metric)
        if figure is not None:
            yield label, f"{figure.value:.0f} of {figure.notes.get('n')} {figure.unit} differ"
    for flag in row.flags:
        yield "flag", flag
