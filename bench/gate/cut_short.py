"""Keep a run that was cut short from passing: it has no trace of the rows that it never came to."""

from __future__ import annotations

from bench.gate.findings import Finding, GateVerdict, finding
from bench.gate.limits import Rule

CUT_SHORT = "the gate was not finished; run it again, and it goes on with the evidence that it has"


def of_cut_short(
    rule: Rule, verdict: GateVerdict = GateVerdict.INCONCLUSIVE, reason: str = CUT_SHORT
) -> Finding:
    """Return the finding about a run that was not finished, beside those about the rows that it has."""
    return finding(rule, ("", "the whole run"), verdict, reason)
