"""Check that the parts of a ``run.json`` agree with each other: rows, ratios and the verdicts of a gate.

A file whose parts contradict each other was damaged or edited, and is refused. Ratios of a row that failed,
or whose baseline failed, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.formatting import row_title
from bench.gate.figures import contradicts
from bench.gate.findings import GateBlock, GateVerdict, block
from bench.metrics.comparisons import Comparison
from bench.results.row import Row


def distinct(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows unchanged.

    Raises ValueError if a cell has two rows with the same name, or two baselines, because figures refer to a
    row by its cell and its name.
    """
    for what, keys in (
        ("rows called", [row.key for row in rows]),
        ("baselines in", [(row.group, "one cell") for row in rows if row.is_baseline]),
    ):
        seen: set[tuple[str, str]] = set()
        for key in keys:
            if key in seen:
                raise ValueError(f"two {what} {row_title(*key)}")
            seen.add(key)
    return tuple(rows)


def judged(rows: Sequence[Row], stored: Mapping[str, Any] | None) -> GateBlock | None:
    """Return the gate from its stored block, or None without one.

    Raises ValueError if a rule has figures or a verdict although its row or the row's baseline was not
    measured, and if a verdict does not follow from the figures next to it. A gate against a stored run does
    not need the row's baseline, because it compares each row with the same row of that run.
    """
    if not stored:
        return None
    gate = GateBlock.from_json(stored)
    failed = {row.key for row in rows if not row.ok}
    if gate.effort.mode != "stored":
        bases = {row.group for row in rows if row.is_baseline and not row.ok}
        failed |= {row.key for row in rows if row.group in bases}
    for rule in gate.rules:
        if (rule.group, rule.variant) in failed:
            if any(figure is not None for figure in (rule.value, rule.low, rule.high)):
                raise ValueError(f"the gate has a figure of {rule.title}, which was not measured")
            if rule.verdict in (GateVerdict.PASS, GateVerdict.FAIL):
                raise ValueError(f"the gate says {rule.verdict} of {rule.title}, which was not measured")
        if contradicts(rule):
            raise ValueError(f"the gate says {rule.verdict} of {rule.title}, against its own figures")
    right = block(gate.rules, gate.effort)
    if right.verdict != gate.verdict or int(right.exit_code) != stored.get("exit_code", int(right.exit_code)):
        raise ValueError(f"the gate says {gate.verdict}, its rules {right.verdict}")
    return gate


def of_measured_rows(rows: Sequence[Row], comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Yield the ratios whose row and baseline were both measured completely."""
    ok = {row.key for row in rows if row.ok}
    failed_bases = {row.group for row in rows if row.is_baseline and not row.ok}
    for ratio in comparisons:
        if (ratio.group, ratio.variant) in ok and ratio.group not in failed_bases:
            yield ratio
