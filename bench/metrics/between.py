"""Two runs side by side: the same variants before and after, or why the two must not be compared.

They were measured apart in time, so besides each figure's own interval a ratio of times carries the spread
between processes and the drift of a machine between passes; ratios within a run are tighter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.errors import IncomparableError
from bench.metrics import cost, latency, memory, output_drift, throughput
from bench.metrics.comparisons import APART_IN_TIME_SD
from bench.metrics.figure import Metric, value_of
from bench.units import format_significant, printable

Run = Mapping[str, Any]
TIMES = (latency.E2EL, latency.TTFT, latency.TPOT, throughput.OUTPUT, cost.PER_1K, cost.PER_REQUEST)
KEY_FIGURES = (*TIMES, memory.RSS, memory.ALLOCATED, output_drift.KLD, output_drift.TOP1)
# What must be equal for a dollar to mean the same in both runs; where a price comes from may differ.
PRICE_KEYS = (
    "kind", "ownership", "currency", "includes_power", "vcpus", "gpus", "usd_per_hour", "purchase_usd",
    "overhead", "life_hours", "usd_per_kwh", "pue", "average_watts", "utilisation",
)  # fmt: skip
SHOWN = 60


def between_runs(one: Run, other: Run) -> list[dict[str, Any]]:
    """A row for each variant of both runs and each key figure that either has; ratio is other ÷ one.

    ``ci_low`` and ``ci_high`` are None where either figure has no interval, and the verdict then is
    ``cannot tell``. Raises IncomparableError naming every field in which the runs must agree and do not.
    """
    pairs = _pairs(one, other)
    differing = [
        f"{place}: {_shown(a)} and {_shown(b)}"
        for place, a, b in (*_of_runs(one, other), *(found for pair in pairs for found in _of_rows(*pair)))
    ]
    if not pairs:
        differing.append("no variant is in both")
    if differing:
        lines = "".join(f"\n  {line}" for line in dict.fromkeys(differing))
        raise IncomparableError(f"{one['run_id']} and {other['run_id']} cannot be compared:{lines}")
    return [row for before, after in pairs for row in _rows(before, after)]


def _pairs(one: Run, other: Run) -> list[tuple[Run, Run]]:
    theirs = {(row["group"], row["name"]): row for row in other["variants"]}
    keys = [(row["group"], row["name"]) for row in one["variants"]]
    return [(row, theirs[key]) for key, row in zip(keys, one["variants"], strict=True) if key in theirs]


# ---- may they be compared? -----------------------------------------------------------------------


def _of_runs(one: Run, other: Run) -> Iterator[tuple[str, object, object]]:
    """(place, here, there) of what holds for a whole run: machine, text, how drift is taken, price."""
    yield from _differ("machine", _flat(one["machine"]), _flat(other["machine"]))
    yield from _differ("text", {"sha256": one["text"]["sha256"]}, {"sha256": other["text"]["sha256"]})
    drift = [{key: run["spec"]["drift"].get(key) for key in ("tokens", "window")} for run in (one, other)]
    yield from _differ("drift", *drift)
    yield from _differ("price", *({key: run["price"].get(key) for key in PRICE_KEYS} for run in (one, other)))


def _of_rows(before: Run, after: Run) -> Iterator[tuple[str, object, object]]:
    """The same for two rows of one name: weights, engine as asked for and as found, load, optimisations."""
    name = _name(before)
    for block in ("workload", "runtime"):
        yield from _differ(f"{name}.{block}", before[block] or {}, after[block] or {})
    facts = [
        {key: (row["facts"] or {}).get(key) for key in ("engine", "device_name", "threads")}
        for row in (before, after)
        if row["facts"]
    ]
    if len(facts) == 2:
        yield from _differ(f"{name}.facts", *facts)
    parts = [
        {
            "model.weights_sha256": (row["model"] or {}).get("weights_sha256"),
            "model.location": (row["model"] or {}).get("location"),
            "optimisations": row["optimisations"],
        }
        for row in (before, after)
    ]
    yield from _differ(name, *parts)


def _differ(
    place: str, one: Mapping[str, object], other: Mapping[str, object]
) -> Iterator[tuple[str, object, object]]:
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            yield f"{place}.{key}", one.get(key), other.get(key)


def _flat(machine: Run) -> dict[str, object]:
    """The fingerprint with each package as a field of its own."""
    plain = {key: value for key, value in machine.items() if key != "packages"}
    packages = machine.get("packages") or {}
    return {**plain, **{f"packages.{name}": version for name, version in packages.items()}}


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return printable(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


# ---- the figures ---------------------------------------------------------------------------------


def _rows(before: Run, after: Run) -> Iterator[dict[str, Any]]:
    for metric in KEY_FIGURES:
        figures = [{**row["metrics"], **row["drift"]}.get(metric.key) for row in (before, after)]
        values = [value_of(figure) for figure in figures]
        if values == [None, None]:
            continue
        ratio = values[1] / values[0] if values[0] and values[1] is not None else None
        spread = 1.959964 * APART_IN_TIME_SD if metric in TIMES else 0.0
        low, high = ratio_bounds(figures[0], figures[1], spread)
        yield {
            "variant": before["name"],
            "group": before["group"],
            "metric": metric.key,
            "before": values[0],
            "after": values[1],
            "ratio": ratio,
            "ci_low": low,
            "ci_high": high,
            "verdict": _verdict(metric, low, high),
        }


def ratio_bounds(
    before: Run | None, after: Run | None, spread: float = 0.0
) -> tuple[float | None, float | None]:
    """95 % bounds of after ÷ before: distances on the log scale, in quadrature, ``spread`` added to both."""
    logs = [_logs(figure) for figure in (before, after)]
    if logs[0] is None or logs[1] is None:
        return None, None
    (low_b, mid_b, high_b), (low_a, mid_a, high_a) = logs[0], logs[1]
    down = math.hypot(mid_a - low_a, high_b - mid_b, spread)
    up = math.hypot(high_a - mid_a, mid_b - low_b, spread)
    return math.exp(mid_a - mid_b - down), math.exp(mid_a - mid_b + up)


def _logs(figure: Run | None) -> tuple[float, float, float] | None:
    """ln of a figure's lower bound, value and upper bound; None where one is missing or not above 0."""
    if figure is None:
        return None
    numbers = [figure["ci_low"], value_of(figure), figure["ci_high"]]
    if any(number is None or number <= 0 for number in numbers):
        return None
    low, middle, high = (math.log(number) for number in numbers)
    return low, middle, high


def _verdict(metric: Metric, low: float | None, high: float | None) -> str:
    """Better or worse when the whole interval is on one side of 1, in the metric's own direction."""
    if low is None or high is None or low <= 1 <= high:
        return "cannot tell"
    return "better" if (high < 1) == (metric.better == "lower") else "worse"


def _name(row: Run) -> str:
    return printable(" ".join(filter(None, (row["group"], row["name"]))))


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row: variant, metric, before, after, ratio with its interval, verdict."""
    table = [("variant", "metric", "before", "after", "ratio [95 %]", "verdict")]
    for row in rows:
        bounds = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}{bounds}"
        before, after = (format_significant(row[side]) for side in ("before", "after"))
        table.append(
            (_name({**row, "name": row["variant"]}), row["metric"], before, after, ratio, row["verdict"])
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
