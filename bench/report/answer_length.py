"""Say what the figures per token do not show: that a row's answers are longer, or never end, and that its
tokens hold more or less text."""

from __future__ import annotations

from bench.formatting import format_significant
from bench.metrics import answers, characters, cost
from bench.records.drift import OTHER_TOKENIZER
from bench.results.headline import ANSWERS, by_answer, other_lengths, times_as_long
from bench.results.paired_figures import shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure
from bench.stats.ratio_verdict import Verdict


def answer_words(run: RunSummary, row: Row) -> str:
    """Compare the length of a row's answers with the baseline's, and add the ratio of the cost per token.

    The text is empty for answers of the same length, and if nothing is known about their ends.
    """
    limit, figure = row.workload.get("output_tokens"), row.figure(answers.TOKENS)
    if figure is None:
        no_end = row.workload.get("name") == ANSWERS and row.ok and answers.TOKENS.key in row.metrics
        return f"most answers have no end within output_tokens ({limit}): raise it" if no_end else ""
    said = []
    ratio = times_as_long(run, row)
    if ratio is not None and other_lengths(run, row):
        thinks = _thinks(row, run.baseline_of(row), ratio)
        said.append(f"{thinks} {ratio:.2f} × as long{_by_token(run, row)}")
    cut = float(figure.notes.get("cut") or 0)
    if cut and by_answer(run, row):
        said.append(f"{cut:.0%} of its answers were cut at {limit} tokens")
    return ", ".join(said)


def character_words(run: RunSummary, row: Row) -> str:
    """Compare the cost of a character with the baseline's, if the row has another tokenizer: the ratio of the
    table is that of a token, and the same text is another number of them. The text is empty for other rows.
    """
    if OTHER_TOKENIZER not in (row.drift_reason or ""):
        return ""
    ours, theirs = (shown_value(run, side, characters.PER_1K) for side in (row, run.baseline_of(row)))
    if not ours or not theirs:
        return ""
    times = format_significant(ours / theirs)
    return f"by the character, as its tokens are of another tokenizer, {times} times the baseline's cost"


def _thinks(row: Row, base: Row, ratio: float) -> str:
    """Say whether the reasoning has another length, or the answer as a whole."""
    ours, theirs = (_reasoning(side.figure(answers.REASONING)) for side in (row, base))
    if ours and theirs and abs(ours / theirs - 1) >= abs(ratio - 1):
        return f"it thinks {ours / theirs:.2f} × as long and its answers are"
    return "its answers are"


def _reasoning(figure: Figure | None) -> float | None:
    return figure.value if figure else None


def _by_token(run: RunSummary, row: Row) -> str:
    per_token = run.comparison(row, cost.PER_1K)
    if per_token is None or per_token.verdict == Verdict.CANNOT_TELL:
        return ""
    return f" ({per_token.ratio:.2f} × the cost a token)"
