"""Read figures out of a run of the harness."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TPOT, COST = "tpot_ms", "cost_per_request_usd"


def ratio_of(run: Mapping[str, Any], variant: str, metric: str = TPOT) -> tuple[float, str]:
    """Return a ratio of a run, and its interval in words.

    Raises RuntimeError with the reason of a failed row.
    """
    one = comparison(run, variant, metric)
    bounds = f"[{one['ci_low']:.4f}, {one['ci_high']:.4f}], {one['design']}, {one.get('pairs')} pairs"
    return float(one["ratio"]), bounds


def comparison(run: Mapping[str, Any], variant: str, metric: str) -> Mapping[str, Any]:
    """Return a comparison as it stands in a run. Raises RuntimeError with the reason of a failed row."""
    for one in run["comparisons"]:
        if (one["variant"], one["metric"]) == (variant, metric):
            found: Mapping[str, Any] = one
            return found
    rows = {row["name"]: row for row in run["variants"]}
    failed = next((row for row in rows.values() if row["status"] != "ok"), rows.get(variant, {}))
    raise RuntimeError(f"no ratio of {variant}: {failed.get('status')}: {failed.get('reason')}")


def half_width_of(run: Mapping[str, Any], variant: str) -> float:
    """Return half the width of the interval of a row's cost ratio, divided by the ratio."""
    one = comparison(run, variant, COST)
    return float(one["ci_high"] - one["ci_low"]) / 2 / float(one["ratio"])


def seconds_of_pairs(run: Mapping[str, Any], variant: str) -> float:
    """Return the seconds that the pairs of a row took, by the journal."""
    lines = (Path(run["directory"]) / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    units = [record for record in map(json.loads, lines) if record.get("kind") == "unit"]
    return float(sum(unit["took_s"] for unit in units if unit["variant"] == variant))
