"""Keep a limit on drift from passing where the replies of a row contradict its drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from bench.gate.findings import Finding, GateVerdict
from bench.metrics import drift_keys
from bench.metrics.replies_against_text import contradicted
from bench.stats.figure import Figures


def suspected(findings: Iterable[Finding], figures: Mapping[tuple[str, str], Figures]) -> Iterator[Finding]:
    """Yield the findings. One on drift is SUSPECT instead of PASS where replies contradict the drift;
    ``figures`` are those of each row, by its group and name."""
    on_text = drift_keys()
    for found in findings:
        if found.verdict == GateVerdict.PASS and found.metric in on_text:
            against = contradicted(figures.get((found.group, found.variant), {}).get)
            found = replace(found, verdict=GateVerdict.SUSPECT, reason=against) if against else found
        yield found
