"""Describe a run of encoders in words: their vectors, rankings and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.formatting import format_share, printable
from bench.metrics import encoded
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure

ROUNDED = 1e-9  # records store a cosine with nine digits
LOST, WRONG = "queries no longer find their own document first", "texts are labelled wrong that were right"


def is_encoder(row: Row) -> bool:
    """Return whether a row turns texts into vectors or labels, and writes no text."""
    return bool(row.runtime.get("task"))


def encoded_words(row: Row) -> str:
    """Say how close a variant's vectors or labels are to the baseline's.

    The text is empty if they were not compared.
    """
    cosine, ranks, flips = (row.figure(metric) for metric in (encoded.COSINE, encoded.RANKS, encoded.FLIPS))
    if flips is not None:
        return _label_words(flips, row.figure(encoded.RIGHT))
    if cosine is None and ranks is None:
        return ""
    parts = []
    if cosine is not None:
        worst = row.figure(encoded.COSINE_P01)
        below = f", 1 % below {cosine_text(worst.value)}" if worst else ""
        parts.append(f"cosine to the baseline {cosine_text(cosine.value)}{below}")
    first, own = row.figure(encoded.FIRST), row.figure(encoded.FOUND)
    if ranks is not None and first is not None:
        share = format_share(first.value)
        parts.append(f"same first document for {share} of queries (ranks agree to {ranks.value:.3f})")
    if own is not None and own.notes["lost"] + own.notes["gained"]:
        parts.append(_lost_words(own, LOST))
    return ", ".join(parts)


def _label_words(flips: Figure, right: Figure | None) -> str:
    words = f"another label for {share_text(flips.value)} of texts"
    return words if right is None else f"{words}, {_lost_words(right, WRONG)}"


def _lost_words(change: Figure, what: str) -> str:
    notes = change.notes
    return f"{notes['lost']} {what}, {notes['gained']} the other way round (p = {notes['p']:.2g})"


def cosine_text(value: float | None) -> str:
    """Write a cosine with four digits, or as ``1 − 2.0e-06`` if these could not distinguish it from 1."""
    if value is None:
        return "-"
    if value < 0.9999:
        return f"{value:.4f}"
    distance = 1 - value
    return f"1 − {distance:.1e}" if distance > ROUNDED else "1"


def share_text(value: float | None) -> str:
    """Write a share of texts with two decimals of a percent, so that a few flips do not look like none."""
    return "-" if value is None else f"{value:.2%}"


def encoded_note(run: RunSummary) -> str:
    """Say on which texts encoders were compared, and how texts become vectors.

    The text is empty for other models.
    """
    rows = [row for row in run.rows if is_encoder(row)]
    if not rows:
        return ""
    said = next((row.facts.loaded for row in rows if row.facts and row.facts.loaded), "")
    metrics = (encoded.COSINE, encoded.FLIPS, encoded.RANKS)
    figures = [row.figure(metric) for row in rows for metric in metrics]
    known: list[Mapping[str, Any]] = [figure.notes for figure in figures if figure]
    words = [f"The model reads {said}."] if said else []
    if known:
        words.append(f"Compared on {known[0]['n']} texts ({known[0]['texts']}).")
        words += [_ranked(notes) for notes in known if notes.get("documents")][:1]
    floors = [notes["floor"] for notes in known if notes.get("floor") is not None]
    if floors:
        words.append(
            f"The baseline's own vectors in a padded batch: cosine {cosine_text(min(floors))} at least."
        )
    return printable(" ".join(words))


def _ranked(notes: Mapping[str, Any]) -> str:
    return f"{notes['n']} queries ranked {notes['documents']} documents."
