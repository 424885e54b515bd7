"""Two runs side by side: the same variants before and after, or why the two must not be compared.

What a change of a figure rests on is in ``bench/metrics/changes.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.errors import IncomparableError
from bench.formatting import format_significant, printable
from bench.metrics import memory
from bench.metrics.changes import IN_PAIRS, TIMES, change, verdict
from bench.metrics.others import quiet_words

Run = Mapping[str, Any]
KEY_FIGURES = (*TIMES, memory.RSS, memory.ALLOCATED, *IN_PAIRS)
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
    return [row for before, after in pairs for row in _rows(one, other, before, after)]


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


def _rows(one: Run, other: Run, before: Run, after: Run) -> Iterator[dict[str, Any]]:
    for metric in KEY_FIGURES:
        found = change(metric, ((one, before), (other, after)))
        if found is None:
            continue
        yield {
            "variant": before["name"],
            "group": before["group"],
            "metric": metric.key,
            "before": found.before,
            "after": found.after,
            "ratio": found.ratio,
            "ci_low": found.low,
            "ci_high": found.high,
            "verdict": verdict(metric, found),
            "basis": found.basis,
            "note": found.note,
        }


def _name(row: Run) -> str:
    return printable(" ".join(filter(None, (row["group"], row["name"]))))


def heading(one: Run, other: Run) -> str:
    """Which two runs are compared, when each was made, and how quiet its machine was."""
    lines = []
    for word, run in (("before", one), ("after", other)):
        when = str(run["started_utc"]).replace("T", " ").removesuffix("Z")
        lines.append(f"{word:6}  {printable(run['run_id'])}, {printable(when)} UTC: {quiet_words(run)}")
    return "\n".join(lines)


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row: variant, metric, before, after, ratio with its interval, verdict, what it rests on; then
    each note once."""
    table = [("variant", "metric", "before", "after", "ratio [95 %]", "verdict", "compared")]
    for row in rows:
        bounds = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}{bounds}"
        before, after = (format_significant(row[side]) for side in ("before", "after"))
        table.append((_title(row), row["metric"], before, after, ratio, row["verdict"], row["basis"]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    notes = dict.fromkeys(f"{_title(row)}: {printable(row['note'])}" for row in rows if row["note"])
    return "\n".join([*lines, *notes])


def _title(row: Run) -> str:
    return _name({**row, "name": row["variant"]})
