"""Remove the parts of ``run.json`` that lists of many runs do not show, before the rest is validated."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

Json = Mapping[str, Any]
# Parts of a row that take long to validate and that no list shows.
_HEAVY: Mapping[str, Any] = {
    "evidence": None, "warm_up": None, "noise": [], "examples": [], "drift": {},
}  # fmt: skip


def lightened(content: Json, figures: Container[str]) -> dict[str, Any]:
    """Return the content of ``run.json`` with only these figures of each row, and without its evidence.

    Malformed parts are kept, so that the validation can report them.
    """
    rows, ratios = content.get("variants"), content.get("comparisons")
    light = dict(content)
    if isinstance(rows, list):
        light["variants"] = [_row(row, figures) if isinstance(row, dict) else row for row in rows]
    if isinstance(ratios, list):
        light["comparisons"] = [ratio for ratio in ratios if not _is_left_out(ratio, figures)]
    return light


def _row(row: Json, figures: Container[str]) -> Json:
    metrics = row.get("metrics")
    if not isinstance(metrics, dict):
        return row
    return {**row, **_HEAVY, "metrics": {key: metrics[key] for key in metrics if key in figures}}


def _is_left_out(ratio: object, figures: Container[str]) -> bool:
    return isinstance(ratio, dict) and isinstance(ratio.get("metric"), str) and ratio["metric"] not in figures
