"""Describe a model that is split between edge and cloud: where a token's time goes, and what it moves."""

from __future__ import annotations

from bench.formatting import format_significant
from bench.metrics import split
from bench.results.row import Row


def split_words(row: Row) -> str:
    """Say the milliseconds of a token on each side and on the link, and the bytes that it moves.

    If only prompts cross the link, the text is about the first token. It is empty for a model that is not
    split.
    """
    step, prompt = row.figure(split.STEP), row.figure(split.PROMPT)
    figure, what = (step, "a token") if step is not None else (prompt, "the first token")
    if figure is None:
        return ""
    ms = {part: 1000 * float(figure.notes[f"{part}_s"]) for part in ("edge", "cloud", "link")}
    moved = float(figure.notes["sent_bytes"]) + float(figure.notes["received_bytes"])
    return (
        f"{what} took {ms['edge']:.1f} ms at the edge, {ms['cloud']:.1f} in the cloud and {ms['link']:.1f} "
        f"on the link, and moved {moved:,.0f} bytes{_at_both_prices(row)}"
    )


def _at_both_prices(row: Row) -> str:
    """Say what tokens cost at the prices of both sides; empty without prices. The columns do not show it."""
    usd = row.figure(split.COST)
    if usd is None:
        return ""
    usd_words = f"{format_significant(usd.value)} USD"
    return (
        f"; at the prices of both sides a thousand tokens cost {usd_words}, while the table bills the time "
        "of this machine"
    )
