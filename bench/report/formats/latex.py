r"""LaTeX: a booktabs table for each run, for a paper (``\usepackage{booktabs}``)."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.columns import COLUMNS
from bench.report.formats import harmless
from bench.results.run_summary import RunSummary

SUFFIX = "tex"
REQUIRES: tuple[str, ...] = ()

_ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}",
    "−": "$-$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "‖": r"$\Vert$", "≤": r"$\le$",
    "…": r"\ldots{}", "\N{REPLACEMENT CHARACTER}": "?",
})  # fmt: skip


def render(runs: Sequence[RunSummary]) -> str:
    """Write one table for each run.

    Letters outside ASCII stay, for XeLaTeX or LuaLaTeX; pdfLaTeX accepts the European ones.
    """
    return "\n".join(_tabular(harmless(run)) for run in runs)


def _tabular(run: RunSummary) -> str:
    price = run.price
    rows = [[column.cell(run, row) for column in COLUMNS] for row in run.rows]
    lines = [
        f"% run {escape(run.run_id)}, spec {escape(run.spec_digest)}",
        f"% price: {escape(price['name'])}, {escape(str(price['date']))}",
        f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in COLUMNS)}}}",
        r"\toprule",
        _line([column.title for column in COLUMNS]),
        r"\midrule",
        *(_line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    r"""Begin the row with ``{}``: after ``\\`` or ``\midrule`` a name like ``[3pt]`` would be an option."""
    return "{}" + " & ".join(escape(cell) for cell in cells) + r" \\"


def escape(text: str) -> str:
    """Escape ``text`` so that LaTeX prints it letter by letter; two dashes stay two dashes."""
    return text.translate(_ESCAPES).replace("--", "-{}-").replace("--", "-{}-")
