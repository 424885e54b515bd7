"""Say of a row in two processes where the time of a token goes, and what it moves."""

from __future__ import annotations

from bench.metrics import split
from bench.results.row import Row


def split_words(row: Row) -> str:
    """Say the milliseconds of a token on each side and on the link, and its bytes; nothing for a whole model.

    Where only prompts cross the link, it is the first token of which that is said.
    """
    step, prompt = row.figure(split.STEP), row.figure(split.PROMPT)
    found, what = (step, "a token") if step is not None else (prompt, "the first token")
    if found is None:
        return ""
    ms = {part: 1000 * float(found.notes[f"{part}_s"]) for part in ("edge", "cloud", "link")}
    moved = float(found.notes["sent_bytes"]) + float(found.notes["received_bytes"])
    return (
        f"{what} took {ms['edge']:.1f} ms at the edge, {ms['cloud']:.1f} in the cloud and {ms['link']:.1f} "
        f"on the link, and moved {moved:,.0f} bytes"
    )
