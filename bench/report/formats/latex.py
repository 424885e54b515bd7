r"""LaTeX: a booktabs table for each run, for a paper (``\usepackage{booktabs}``)."""

from __future__ import annotations

from collections.abc import Sequence

from bench.gate.findings import GateBlock
from bench.report.formats import presented
from bench.report.gate_reading import measured
from bench.report.gate_sides import compared
from bench.report.notes import drift_note, front_words, timed_words
from bench.report.table_columns import columns_of
from bench.results.run_summary import RunSummary

SUFFIX = "tex"
REQUIRES: tuple[str, ...] = ()

_ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}",
    "−": "$-$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "‖": r"$\Vert$", "≤": r"$\le$",
    "…": r"\ldots{}", "→": r"$\to$", "\N{REPLACEMENT CHARACTER}": "?",
})  # fmt: skip


def render(runs: Sequence[RunSummary]) -> str:
    """Write a table for each run, preceded by a table of the rules of its gate if there was one.

    What its marks mean, and on which text drift was measured, are comments above it: a caption can say them.

    Letters outside ASCII are kept. XeLaTeX and LuaLaTeX accept all of them, pdfLaTeX only the European ones.
    """
    return "\n".join(_tables(presented(run)) for run in runs)


def _tables(run: RunSummary) -> str:
    lines = [
        f"% run {escape(run.run_id)}, spec {escape(run.spec_digest)}",
        f"% price: {escape(run.price['name'])}, {escape(str(run.price['date']))}",
    ]
    notes = (("*", front_words(run)), ("~", timed_words(run)), ("KL", drift_note(run)))
    lines += [f"% {mark}: {escape(words)}" for mark, words in notes if words and run.rows]
    if run.gate:
        lines += [*_gate(run.gate), *([""] if run.rows else [])]
    if run.rows or not run.gate:
        columns = columns_of(run)
        head = [column.title for column in columns]
        rows = [[column.cell(run, row) for column in columns] for row in run.rows]
        lines += _tabular("".join("r" if column.right else "l" for column in columns), head, rows)
    return "\n".join(lines) + "\n"


def _gate(gate: GateBlock) -> list[str]:
    """Return a table with a row for each rule, and below them what was compared and what differs."""
    about = compared(gate.effort)
    rows = [
        [rule.title, rule.rule, str(rule.verdict), measured(rule), str(rule.units or "-"), rule.reason]
        for rule in gate.rules
    ]
    notes = [f"Gate {gate.verdict}: compare {about.sides}", *about.differing]
    return _tabular("lllrrl", ["variant", "limit", "verdict", "measured", "units", "why"], rows, notes)


def _tabular(
    sides: str, head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> list[str]:
    """Return the lines of a table. ``sides`` has l or r for each column; notes span all columns."""
    wide = [rf"\multicolumn{{{len(sides)}}}{{l}}{{{escape(note)}}} \\" for note in notes]
    return [
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        _line(head),
        r"\midrule",
        *(_line(row) for row in rows),
        *([r"\midrule", *wide] if wide else []),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _line(cells: Sequence[str]) -> str:
    r"""Write a row. It starts with ``{}``, so that ``[3pt]`` in a name is not an option of ``\\``."""
    return "{}" + " & ".join(escape(cell) for cell in cells) + r" \\"


def escape(text: str) -> str:
    """Escape ``text`` so that LaTeX prints it unchanged; two dashes do not become an en dash."""
    return text.translate(_ESCAPES).replace("--", "-{}-").replace("--", "-{}-")
