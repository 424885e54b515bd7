"""What must hold between the parts of a ``run.json``: rows, ratios and the verdicts of a gate.

A file in which the parts contradict each other was damaged or edited, and is refused. Ratios to a row that
failed are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.formatting import row_title
from bench.gate.figures import contradicts
from bench.gate.verdict import GateBlock, GateVerdict, block
from bench.metrics.comparisons import Comparison
from bench.results.row import Row


def distinct(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows. Raises ValueError if two have one name: the figures of one would stand for the other;
    and for two baselines of a cell, as either would be what the cell is compared with."""
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


def judged(rows: Sequence[Row], found: Mapping[str, Any] | None) -> GateBlock | None:
    """Return the gate. Raises ValueError if a rule has a figure of a row that was not measured, or of one
    whose baseline was not, and if a verdict is not that of its figures or its rules.

    Against a stored run each row is compared with itself, so its own baseline does not count there.
    """
    if not found:
        return None
    gate = GateBlock.from_json(found)
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
    said = block(gate.rules, gate.effort)
    if said.verdict != gate.verdict or int(said.exit_code) != found.get("exit_code", int(said.exit_code)):
        raise ValueError(f"the gate says {gate.verdict}, its rules {said.verdict}")
    return gate


def of_measured_rows(rows: Sequence[Row], comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Yield the ratios of which both rows were measured to their end: there is no ratio to a failed row."""
    ok = {row.key for row in rows if row.ok}
    failed_bases = {row.group for row in rows if row.is_baseline and not row.ok}
    for one in comparisons:
        if (one.group, one.variant) in ok and one.group not in failed_bases:
            yield one
