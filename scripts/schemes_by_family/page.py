"""The table as a page of the documentation, made from its journal."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemes_by_family.cells import APPLIED, ELSEWHERE, schemes
from schemes_by_family.families import FAMILIES, HIDDEN

Row = Mapping[str, Any]
Rows = Mapping[tuple[str, str, str], Row]
MADE = "<!-- made by scripts/schemes-by-family --page: measure again, do not edit this page -->"
YES, GPU, UNKNOWN = "yes", "GPU", "?"


def page(rows: Rows, transformers: str) -> str:
    """Return the page: a table for each verb, and below it a line for each reason."""
    parts = [MADE, "# Schemes by family", *_preface(rows, transformers)]
    for verb in dict.fromkeys(verb for verb, _name in schemes()):
        names = [name for one, name in schemes() if one == verb]
        reasons = _reasons(rows, verb, names)
        parts += [f"## {verb}", _table(rows, verb, names, reasons)]
        if reasons:
            parts.append("\n".join(f"{number}. {reason}" for reason, number in reasons.items()))
    return "\n\n".join(parts) + "\n"


def _preface(rows: Rows, transformers: str) -> Iterable[str]:
    ends = [row["end"] for row in rows.values()]
    measured = sum(end != ELSEWHERE for end in ends)
    yield (
        f"Whether each scheme works on each architecture. The class of transformers {transformers} that a "
        f"card names was built with {HIDDEN} hidden units and a few layers, got random weights, and was "
        "loaded with the scheme on a CPU, as in any run: with its usual settings, and with the checks of its "
        f"evidence. *{YES}* means that all checks held. A number is the reason why not, below the table. "
        f"*{GPU}* means that the scheme has no kernels for a CPU, so it was not tried, and *{UNKNOWN}* that "
        "nobody has measured the cell yet. "
        f"Of {len(ends)} cells, {measured} were tried, and {ends.count(APPLIED)} of these say *{YES}*."
    )
    yield (
        "Such a model says that a scheme takes an architecture, and nothing of speed or quality. "
        "[The journal](../../results/reference/schemes-by-family) has the bytes of the weights, the KL to "
        "the plain model and the versions of the packages. To measure what is missing in it:"
    )
    yield "```sh\n.venv/bin/python scripts/schemes-by-family            # it goes on where it stopped\n```"
    yield "\n".join(
        ["| family | card | what it has |", "|---|---|---|"]
        + [f"| {name} | `{one.card}` | {one.what} |" for name, one in FAMILIES.items()]
    )


def _reasons(rows: Rows, verb: str, names: Sequence[str]) -> dict[str, int]:
    """Number the reasons of a verb in the order in which they occur."""
    found: dict[str, int] = {}
    for name in names:
        for family in FAMILIES:
            row = rows.get((verb, name, family))
            if row is not None and row["end"] not in (APPLIED, ELSEWHERE):
                found.setdefault(_said(row), len(found) + 1)
    return found


def _said(row: Row) -> str:
    return f"`{row['end']}`: {html.escape(row['reason'], quote=False)}"


def _table(rows: Rows, verb: str, names: Sequence[str], reasons: Mapping[str, int]) -> str:
    lines = [f"| scheme | {' | '.join(FAMILIES)} |", f"|---|{'---|' * len(FAMILIES)}"]
    for name in names:
        cells = (_mark(rows.get((verb, name, family)), reasons) for family in FAMILIES)
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mark(row: Row | None, reasons: Mapping[str, int]) -> str:
    if row is None:
        return UNKNOWN
    if row["end"] == APPLIED:
        return YES
    return GPU if row["end"] == ELSEWHERE else f"({reasons[_said(row)]})"
