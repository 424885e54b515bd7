"""Describe a row in one sentence that an engineer would say. The words come from the figures alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bench.formatting import format_share, format_significant, join_words, printable
from bench.metrics import cost, device, goodput, one_off, output_drift, requests, speculation
from bench.metrics.comparisons import Comparison
from bench.report.answering import answer_words
from bench.report.bands import a_different_model, band
from bench.report.behaviour import behaviour_words, suites_note
from bench.report.cascade import cascade_words
from bench.report.gate_reading import about_row
from bench.report.kernel_names import short
from bench.report.splits import split_words
from bench.results.explained import launch_words
from bench.results.headline import by_answer, headline
from bench.results.others import OTHERS_SHARE, others_in_turns
from bench.results.row import Row
from bench.results.run_summary import RunSummary, in_turns
from bench.stats.figure import Metric, value_of
from bench.stats.intervals import Interval
from bench.stats.pairs import FAMILY_ERROR, LEAST_PAIRS
from bench.stats.verdict import Design, Verdict

FRONT = "on the Pareto front: no other row is both cheaper and closer to the baseline"
WORTH_SAYING_S = 10.0
WORTH_SAYING_APART = 0.05


def timed_interval(run: RunSummary, row: Row, metric: Metric) -> Interval | None:
    """Return a figure of time or money as the table shows it.

    If both sides ran in turns, it is the baseline's figure times the ratio, so that any two rows of a column
    have the ratio that the table shows. Otherwise it is the row's own figure.
    """
    ratio, figure = run.comparison(row, metric), row.figure(metric)
    if ratio is not None and ratio.value is not None and in_turns(ratio):
        return Interval(ratio.value, ratio.value_low, ratio.value_high)
    return figure.interval if figure else None


def sentence(run: RunSummary, row: Row) -> str:
    """Say whether a variant is cheaper, by how much, how its output differs, and why if it is not cheaper.

    If a gate judged the row, its verdict comes first, and stands in the place of a ratio that is missing.
    """
    if not row.ok:
        return _one_line(f"{row.status}: {row.reason}")
    judged, ratio = about_row(run, row), headline(run, row)
    if row.is_baseline:
        parts = ["the baseline", judged, *row.flags, good_words(row), error_words(row), launch_words(row)]
        return _one_line("; ".join(part for part in parts if part))
    money = "" if judged and ratio is None else _money(ratio)
    drift = drift_words(row)
    if money and by_answer(run, row):
        money = f"{money} an answer"
    cheaper = "cheaper" in money
    if cheaper and a_different_model(row):
        money, drift = f"{money}, but {drift}", ""
    if money and row.headline is goodput.PER_GOOD:
        money = f"a good request: {money}"
    parts = [judged, money, answer_words(run, row), drift, behaviour_words(run, row), good_words(row)]
    parts += [*row.flags, error_words(row), once_words(row), speculation_words(row)]
    parts += [cascade_words(row), split_words(row)]
    if launched := launch_words(row):
        parts += [launched, _own_time(run, row)]
    elif money and not cheaper:
        parts.append(_why(row))
    if (share := others_in_turns(row)) > OTHERS_SHARE:
        parts.append(f"others had up to {share:.0%} of the processors meanwhile")
    return _one_line("; ".join(part for part in parts if part))


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _money(ratio: Comparison | None) -> str:
    if ratio is None:
        return "not compared"
    if ratio.verdict == Verdict.BETTER:
        return f"{1 / ratio.ratio:.1f} × cheaper" if ratio.ratio < 0.6 else f"{1 - ratio.ratio:.0%} cheaper"
    if ratio.verdict == Verdict.WORSE:
        return (
            f"{ratio.ratio:.1f} × the cost" if ratio.ratio > 1.6 else f"{ratio.ratio - 1:.0%} more expensive"
        )
    if ratio.ci_low is None or ratio.ci_high is None:
        return "too few requests to tell the cost apart"
    if ratio.ci_low < 0.9 or ratio.ci_high > 1.1:
        return f"cannot tell: between {ratio.ci_low:.2f} and {ratio.ci_high:.2f} times the cost"
    return "cost the same as far as this run can tell"


def drift_words(row: Row) -> str:
    """Name the band and the share of tokens on which both models agree, or say why drift was not measured."""
    words, agreement = band(row), value_of(row.figure(output_drift.TOP1))
    if words is None or agreement is None:
        return f"drift not measured: {row.drift_reason}" if row.drift_reason else ""
    return f"{words} (agrees on {format_share(agreement)} of tokens)"


def good_words(row: Row) -> str:
    """Say how many requests met the limits of the config, and what a good one costs; nothing without limits.

    Where all were good, a good request is a request, and nothing is added.
    """
    share = row.figure(goodput.FRACTION)
    if share is None or share.value == 1:
        return ""
    if not share.value:
        return "no good request: none met every limit (slo)"
    usd = value_of(row.figure(goodput.PER_GOOD))
    return (
        f"{share.notes.get('good')} of {share.notes.get('requests')} requests were good, each for "
        f"{format_significant(usd)} USD"
    )


def speculation_words(row: Row) -> str:
    """Say how many tokens a pass gave, what drafting and verifying cost, and the speed-up that follows."""
    length, speedup = row.figure(speculation.LENGTH), row.figure(speculation.SPEEDUP)
    if length is None:
        return ""
    if speedup is None:
        return f"{length.value:.1f} tokens a pass: hardly anything was drafted"
    notes = speedup.notes
    drafting = notes["gamma"] * notes["draft_cost"]
    return (
        f"{length.value:.1f} tokens a pass; drafting took {drafting:.2f} and verifying "
        f"{notes['verify_cost']:.2f} steps of the baseline, so decoding is {speedup.value:.2f} × as fast"
    )


def error_words(row: Row) -> str:
    """Say which share of a server's requests failed; nothing if none did."""
    errors = value_of(row.figure(requests.ERRORS))
    return f"{format_share(errors)} of the requests failed or were cut short" if errors else ""


def once_words(row: Row) -> str:
    """Say what calibration or training cost and when it is earned back; nothing for work of a few seconds."""
    spent = row.figure(one_off.USD)
    seconds = spent.notes.get("seconds") or 0.0 if spent else 0.0
    if spent is None or seconds < WORTH_SAYING_S:
        return ""
    requests = value_of(row.figure(one_off.BREAK_EVEN))
    back = "not shown to be earned back"
    if requests is not None:
        back = f"earned back after {requests:,.0f} requests"
    return f"made once in {seconds:.0f} s for {format_significant(spent.value)} USD, {back}"


def _own_time(run: RunSummary, row: Row) -> str:
    """Compare the GPU's own time with the baseline's, which a noisy processor does not touch."""
    ours, theirs = (value_of(one.figure(device.BUSY)) for one in (row, run.baseline_of(row)))
    return "" if ours is None or not theirs else f"the GPU's own time of a step is {ours / theirs:.2f} times"


def _why(row: Row) -> str:
    """Return what the scheme itself has to say, or else where a decode step's time goes by its profile."""
    if row.evidence is None:
        return ""
    notes = [step["note"] for step in row.evidence.steps if step.get("note")]
    if notes:
        return str(notes[-1])
    spent = ", ".join(f"{kernel.share:.0%} {short(kernel.operator)}" for kernel in row.evidence.kernels[:2])
    return f"a step spends {spent}" if spent else ""


def front_words(run: RunSummary) -> str:
    """Explain the star; empty if no row has one."""
    return FRONT if any(run.fronts.values()) else ""


def timed_words(run: RunSummary) -> str:
    """Explain the columns of time and money, and how sure a verdict is."""
    pairs = [one.pairs for one in run.comparisons if one.metric == cost.PER_1K.key and one.pairs]
    if not pairs:
        return _apart_words(run)
    count = str(min(pairs)) if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    pairs_word = "pair" if count == "1" else "pairs"
    alone = "A single pair does not show how far pairs lie apart. " if min(pairs) < LEAST_PAIRS else ""
    void = sum(row.void_pairs for row in run.rows)
    left_out = f" ({void} more left out, while {_void_words(run)})" if void else ""
    busy = max((others_in_turns(row) for row in run.rows), default=0.0)
    sure = f"better and worse: at most {FAMILY_ERROR:.0%} of tables without a difference say either."
    if busy > OTHERS_SHARE:
        sure = (
            f"Others had up to {busy:.0%} of the processors meanwhile (see measure.max_disturbance), so no "
            "rate of wrong verdicts is promised."
        )
    if run.served:
        return (
            f"Each ratio comes from {count} {pairs_word} of servers, new for each pair, under the same load "
            f"in blocks that alternate{left_out}; a variant's times, tokens per second and dollars are the "
            f"baseline's times its ratio (~: not in blocks, its own). {alone}{sure}"
        )
    return (
        f"Each ratio comes from {count} fresh {pairs_word} of processes that {_how(run)}{left_out}; a "
        "variant's times, tokens per second and dollars are the baseline's, measured alone, times its ratio "
        f"(~: no turns, its own). {alone}{sure}"
    )


def _how(run: RunSummary) -> str:
    """Say how the two sides of a pair shared the machine."""
    designs = {one.design for one in run.comparisons if one.metric == cost.PER_1K.key and one.pairs}
    if designs == {Design.ABBA}:
        return "run one after the other"
    return "take turns, or run one after the other" if Design.ABBA in designs else "take turns"


def _void_words(run: RunSummary) -> str:
    return "the client was late or others used the machine" if run.served else "others used the machine"


def _apart_words(run: RunSummary) -> str:
    """Say, for a run of earlier code, how far the dollars of rows measured alone are from the ratios."""
    alone = {row.key: value_of(row.figure(cost.PER_1K)) for row in run.rows}
    base = {row.group: alone[row.key] for row in run.rows if row.is_baseline}
    apart = [0.0]
    for one in run.comparisons:
        ours, theirs = alone.get((one.group, one.variant)), base.get(one.group)
        if one.metric == cost.PER_1K.key and in_turns(one) and ours and theirs:
            apart.append(abs(math.log(ours / theirs / one.ratio)))
    if max(apart) < WORTH_SAYING_APART:
        return ""
    return (
        "Other columns are of each row alone, one after the other, while this machine's speed moved: "
        f"their dollars' ratios are up to {math.expm1(max(apart)):.0%} off the cost ratio, measured in turns."
    )


def scored_words(run: RunSummary) -> str:
    """Say what the drift figures were scored on; nothing for earlier code, which did not record it."""
    figures = [row.figure(output_drift.KLD) for row in run.rows]
    known = [figure for figure in figures if figure and figure.notes.get("windows")]
    if not known:
        return ""
    most = max(known, key=lambda figure: int(figure.notes["n"])).notes
    words = f"Drift is over {most['n']:,} tokens in {windows_words(most)}."
    asked, window = int(most.get("asked") or 0), int(most.get("window") or 0)
    short = asked and window and most["windows"] < asked // window
    return f"{words} {output_drift.scored_words(most['n'], asked)}." if short else words


def drift_note(run: RunSummary) -> str:
    """Say what drift and suites were scored on, and how sure the suites' verdicts are."""
    return " ".join(filter(None, (scored_words(run), floor_words(run), suites_note(run))))


def floor_words(run: RunSummary) -> str:
    """Say how far the baseline is from itself, and in which circumstances; nothing for earlier code."""
    figures = (row.figure(output_drift.KLD) for row in run.rows)
    known = [floors for figure in figures if figure and (floors := figure.notes.get("floors"))]
    if not known:
        return ""
    kinds = dict.fromkeys(kind for floors in known for kind in floors)
    most = max(value or 0.0 for floors in known for value in floors.values())
    return printable(f"Noise floor {format_significant(most)} nat (other {join_words(list(kinds))}).")


def windows_words(notes: Mapping[str, Any]) -> str:
    """Say what a drift figure with these notes was scored on: ``8 windows of 256 (mixed)``."""
    windows = "1 window" if notes["windows"] == 1 else f"{notes['windows']} windows"
    return printable(f"{windows} of {notes.get('window')} ({notes.get('text')})")


def bounds_text(found: Interval | None, show: Callable[[float | None], str]) -> str:
    """Format a 95 % interval as ``[0.019, 0.026]``; the text is empty if there is none."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"[{show(found.low)}, {show(found.high)}]"


def interval_text(ratio: Comparison | None) -> str:
    """Format a ratio with its interval: ``0.660 [0.650, 0.680]``."""
    if ratio is None:
        return "-"
    if ratio.ci_low is None or ratio.ci_high is None:
        return format_significant(ratio.ratio)
    if ratio.ratio < 0.1:
        return " ".join(format_significant(number) for number in (ratio.ratio, ratio.ci_low, ratio.ci_high))
    return f"{ratio.ratio:.3f} [{ratio.ci_low:.3f}, {ratio.ci_high:.3f}]"
