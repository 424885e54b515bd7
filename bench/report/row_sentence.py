"""Describe a row in one sentence, as an engineer would say it. The words depend only on the figures."""

from __future__ import annotations

from collections.abc import Callable

from bench.formatting import format_share, format_significant, printable
from bench.metrics import device, goodput, latency, one_off, output_drift, reply_texts, requests, speculation
from bench.metrics.comparisons import Comparison
from bench.records.drift import BY_TEXT
from bench.report.answer_length import answer_words, character_words
from bench.report.bands import a_different_model, band
from bench.report.behaviour import behaviour_words
from bench.report.cascade import cascade_words, edge_alone
from bench.report.encoders import encoded_words
from bench.report.gate_reading import about_row
from bench.report.kernel_names import short
from bench.report.splits import split_words
from bench.results.disturbance import OTHERS_SHARE, others_in_turns
from bench.results.explanation import launch_words
from bench.results.headline import by_answer, headline
from bench.results.paired_figures import shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, value_of
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import Verdict

FEW_GOOD = "not compared, because in too few pairs both sides had one"
WORTH_SAYING_S = 10.0  # seconds of one-off work below which the sentence does not mention it


def sentence(run: RunSummary, row: Row) -> str:
    """Say whether a variant is cheaper, by how much, how its output differs, and why if it is not cheaper.

    If a gate judged the row, the gate's verdict comes first, and replaces the cost if there is no ratio.
    """
    if not row.ok:
        return _one_line(f"{row.status}: {row.reason}")
    judged, ratio = about_row(run, row), headline(run, row)
    if row.is_baseline:
        parts = ["the baseline", row.random_weights, judged, *row.flags]
        parts += [good_words(run, row), error_words(row), launch_words(row)]
        return _one_line("; ".join(part for part in parts if part))
    money = "" if judged and ratio is None else _money(ratio)
    drift = drift_words(row)
    if money and by_answer(run, row):
        money = f"{money} an answer"
    cheaper = "cheaper" in money
    if cheaper and a_different_model(row):
        money, drift = f"{money}, but {drift}", ""
    if money and row.headline is goodput.PER_GOOD:
        money = f"a good request: {money if ratio else FEW_GOOD}"
    parts = [judged, edge_alone(row), money, row.random_weights]
    parts += [character_words(run, row), answer_words(run, row), drift]
    parts += [behaviour_words(run, row), good_words(run, row)]
    parts += [*row.flags, error_words(row), once_words(row)]
    parts += [speculation_words(row, run.comparison(row, latency.TPOT))]
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
    change = _change(abs(ratio.ratio - 1))
    if ratio.verdict == Verdict.BETTER:
        return f"{1 / ratio.ratio:.1f} × cheaper" if ratio.ratio < 0.6 else f"{change} cheaper"
    if ratio.verdict == Verdict.WORSE:
        return f"{ratio.ratio:.1f} × the cost" if ratio.ratio > 1.6 else f"{change} more expensive"
    if ratio.ci_low is None or ratio.ci_high is None:
        return "too few requests to compare the cost"
    if not ratio.ci_low <= 1 <= ratio.ci_high:
        low, high = map(format_significant, (ratio.ci_low, ratio.ci_high))
        return (
            f"cannot tell: between {low} and {high} times the cost by its own interval, which is not enough "
            "for the error rate of the whole table"
        )
    if ratio.ci_low < 0.9 or ratio.ci_high > 1.1:
        return f"cannot tell: between {ratio.ci_low:.2f} and {ratio.ci_high:.2f} times the cost"
    return "cost the same as far as this run can tell"


def _change(share: float) -> str:
    """Write a change that was found as a percentage, so that a small one is not 0%."""
    return f"{share:.0%}" if share >= 0.01 else f"{format_significant(100 * share, 1)}%"


def drift_words(row: Row) -> str:
    """Say how far the output is from the baseline's, or why drift was not measured.

    For most rows that is the band, and the share of tokens on which both models agree.
    """
    if same := row.figure(reply_texts.EXACT):
        return _text_words(row, same)
    if encoders := encoded_words(row):
        return encoders
    words, agreement = band(row), value_of(row.figure(output_drift.TOP1))
    if words is None or agreement is None:
        return f"drift not measured: {row.drift_reason}" if row.drift_reason else ""
    against = row.contradiction
    on_text = f"agrees on {format_share(agreement)} of tokens"
    return f"{words} ({against}, on which it {on_text})" if against else f"{words} ({on_text})"


def _text_words(row: Row, same: Figure) -> str:
    """Say how many replies are the same, how many the baseline itself repeats, and why texts are compared."""
    edits, again = row.figure(reply_texts.EDITS), same.notes.get("again")
    itself = f" (the baseline itself: {format_share(again)})" if again is not None else ""
    changed = f", {format_share(edits.value)} of the characters changed" if edits and edits.value else ""
    why = row.drift_reason or BY_TEXT
    return f"{format_share(same.value)} of the replies are the same{itself}{changed}; {why}"


def good_words(run: RunSummary, row: Row) -> str:
    """Say how many requests met the limits of the config (``slo``), and what a good one costs.

    The text is empty without limits, and if all requests were good: then it would only repeat the cost.
    """
    share = row.figure(goodput.FRACTION)
    if share is None or share.value == 1:
        return ""
    if not share.value:
        return "no good request: none met every limit (slo)"
    usd = shown_value(run, row, goodput.PER_GOOD)
    return (
        f"{share.notes.get('good')} of {share.notes.get('requests')} requests were good, each for "
        f"{format_significant(usd)} USD"
    )


def speculation_words(row: Row, step: Comparison | None) -> str:
    """Say how many tokens a pass produced, what drafting and verifying cost, and the speed-up: the one that
    follows from these, and the measured one. ``step`` compares the time of a token with the baseline's."""
    length, speedup = row.figure(speculation.LENGTH), row.figure(speculation.SPEEDUP)
    if length is None:
        return ""
    if speedup is None:
        return f"{length.value:.1f} tokens a pass: hardly anything was drafted"
    notes = speedup.notes
    drafting = notes["gamma"] * notes["draft_cost"]
    measured = f" (measured: {1 / step.ratio:.2f} ×)" if step is not None and step.ratio else ""
    return (
        f"{length.value:.1f} tokens a pass; drafting took {drafting:.2f} and verifying "
        f"{notes['verify_cost']:.2f} steps of the baseline, so decoding should be {speedup.value:.2f} × as "
        f"fast{measured}"
    )


def error_words(row: Row) -> str:
    """Say which share of a server's requests failed; the text is empty if none did."""
    errors = value_of(row.figure(requests.ERRORS))
    return f"{format_share(errors)} of the requests failed or were cut short" if errors else ""


def once_words(row: Row) -> str:
    """Say what calibration or training cost, and when that is earned back.

    The text is empty for work of less than ``WORTH_SAYING_S``.
    """
    spent = row.figure(one_off.USD)
    seconds = spent.notes.get("seconds") or 0.0 if spent else 0.0
    if spent is None or seconds < WORTH_SAYING_S:
        return ""
    requests = value_of(row.figure(one_off.BREAK_EVEN))
    back = "not shown to be earned back"
    if requests is not None:
        back = f"earned back after {requests:,.0f} requests"
    others = spent.notes.get("others") or 0.0
    beside = f", while others had {others:.0%} of the processors" if others > OTHERS_SHARE else ""
    return f"made once in {seconds:.0f} s for {format_significant(spent.value)} USD{beside}, {back}"


def _own_time(run: RunSummary, row: Row) -> str:
    """Compare the busy time of the GPU with the baseline's: it does not depend on a noisy processor."""
    ours, theirs = (value_of(side.figure(device.BUSY)) for side in (row, run.baseline_of(row)))
    return "" if ours is None or not theirs else f"the GPU's own time of a step is {ours / theirs:.2f} times"


def _why(row: Row) -> str:
    """Explain why a row is not cheaper: the scheme's own note, or else the kernels with the most time."""
    if row.evidence is None:
        return ""
    notes = [step["note"] for step in row.evidence.steps if step.get("note")]
    if notes:
        return str(notes[-1])
    spent = ", ".join(f"{kernel.share:.0%} {short(kernel.operator)}" for kernel in row.evidence.kernels[:2])
    return f"a step spends {spent}" if spent else ""


def bounds_text(interval: Interval | None, show: Callable[[float | None], str]) -> str:
    """Format a 95 % interval as ``[0.019, 0.026]``; the text is empty if there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"[{show(interval.low)}, {show(interval.high)}]"


def interval_text(ratio: Comparison | None) -> str:
    """Format a ratio with its interval: ``0.660 [0.650, 0.680]``."""
    if ratio is None:
        return "-"
    if ratio.ci_low is None or ratio.ci_high is None:
        return format_significant(ratio.ratio)
    if ratio.ratio < 0.1:
        value, low, high = map(format_significant, (ratio.ratio, ratio.ci_low, ratio.ci_high))
        return f"{value} [{low}, {high}]"
    return f"{ratio.ratio:.3f} [{ratio.ci_low:.3f}, {ratio.ci_high:.3f}]"
