"""Markdown: the table, a sentence for each variant and the price, for an issue or a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.formatting import format_setting
from bench.gate.findings import Finding, GateBlock
from bench.records.grid import words
from bench.report.formats import harmless, presented
from bench.report.gate_reading import advice_on, measured
from bench.report.gate_sides import compared
from bench.report.notes import drift_note, front_words, timed_words
from bench.report.row_sentence import sentence
from bench.report.table_columns import Column, columns_of
from bench.results.row import Row
from bench.results.run_summary import RunStatus, RunSummary

SUFFIX = "md"
REQUIRES: tuple[str, ...] = ()

_ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "@&#8203;",  # so that @name notifies nobody
    ":": "&#58;",  # so that an address does not become a link, and :word: not an emoji
}
_SPECIAL = re.compile(r"[\\`*_{}\[\]|~$#!&<>@]|:(?=//|\w+:)|(?<=www)\.")


def render(runs: Sequence[RunSummary]) -> str:
    """Write a section for each run."""
    return "\n".join(_section(presented(run)) for run in runs)


def _section(run: RunSummary) -> str:
    model = run.model or {}
    lines = [f"## {escape(run.name)}: {escape(model.get('name') or 'no model')}", ""]
    if said := words(model.get("grid")):
        lines += [f"Weights: {escape(said)}.", ""]
    if run.status != RunStatus.OK or run.reasons:
        lines += [f"**{escape(run.status)}**", "", *(f"- {escape(why)}" for why in run.reasons), ""]
    if run.gate:
        lines += [f"**Gate: {run.gate.verdict}**", "", *rules_table(run.gate.rules), "", *about(run.gate), ""]
    if run.rows:
        lines += [*_table(run), "", *_sentences(run), ""]
    return "\n".join([*lines, *_money(run)]) + "\n"


def rules_table(rules: Sequence[Finding]) -> list[str]:
    """Return the lines of the table of a gate's rules. The text in ``rules`` must already be ``harmless``."""
    head = ("variant", "limit", "verdict", "measured", "units", "why")
    side = (":---", ":---", ":---", ":---", "---:", ":---")
    rows = [
        (escape(rule.title), escape(rule.rule), f"**{rule.verdict}**", escape(measured(rule)),
         str(rule.units or "-"), escape(rule.reason))
        for rule in rules
    ]  # fmt: skip
    return [f"| {' | '.join(cells)} |" for cells in (head, side, *rows)]


def about(gate: GateBlock) -> list[str]:
    """Return the lines that say what a gate compared, what differs, and what to do next if that is known.

    The text in ``gate`` must already be ``harmless``. Raises IntegrityError if the gate's stored evidence is
    damaged.
    """
    said = advice_on(gate)
    return [*([said, ""] if said else []), *(f"- {escape(line)}" for line in compared(gate.effort).lines)]


def _table(run: RunSummary) -> list[str]:
    columns = columns_of(run)
    head = [escape(column.title) for column in columns]
    rule = ["---:" if column.right else ":---" for column in columns]
    rows = [[_cell(column, run, row) for column in columns] for row in run.rows]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _cell(column: Column, run: RunSummary, row: Row) -> str:
    """Return a figure, followed by its interval."""
    return escape(" ".join(filter(None, (column.cell(run, row), column.interval(run, row)))))


def _sentences(run: RunSummary) -> list[str]:
    return [
        f"- **{escape(row.title)}**: {escape(harmless(sentence(run, row)))}"
        for row in run.rows
        if not row.is_baseline or not row.ok
    ]


def _money(run: RunSummary) -> list[str]:
    price = run.price
    return [
        (rf"\* {star}. " if (star := front_words(run)) else "")
        + f"\\$: {escape(price['name'])}, {escape(str(price['date']))}, "
        f"used {format_setting(price['utilisation'])} of the time. "
        f"{escape(' '.join(filter(None, (timed_words(run), drift_note(run)))))} "
        f"Run `{_plain(run.run_id)}`, spec `{_plain(run.spec_digest[:12])}`."
    ]


def escape(text: str) -> str:
    """Escape ``text`` so that GitHub shows it unchanged: no markup, HTML, cell, link, mention or formula."""
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match.group(), f"\\{match.group()}"), text)


def _plain(text: str) -> str:
    """Replace all but letters, digits, dot, dash and underscore: nothing can be escaped in backticks."""
    return re.sub(r"[^\w.-]", "�", text)
