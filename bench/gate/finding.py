"""What a gate says: one finding a rule and variant, and the worst of them for the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.errors import ExitCode
from bench.gate.limits import Rule

PASS, FAIL, INCONCLUSIVE, SUSPECT, ERROR = "PASS", "FAIL", "INCONCLUSIVE", "SUSPECT", "ERROR"
# The worst first: one bad cell is not averaged away by good ones.
EXIT_CODES = {
    FAIL: ExitCode.FAIL,
    ERROR: ExitCode.FAILED,
    SUSPECT: ExitCode.SUSPECT,
    INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    PASS: ExitCode.OK,
}


@dataclass(frozen=True)
class Finding:
    """One rule on one variant. ``low`` and ``high`` bound ``value`` (a ratio for relative limits)."""

    rule: str
    metric: str
    group: str
    variant: str
    kind: str
    verdict: str
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    units: int = 0
    evidence_fail: float | None = None
    evidence_pass: float | None = None
    more_may_help: bool = False


def finding(rule: Rule, group: str, variant: str, verdict: str, reason: str, **more: Any) -> Finding:
    """What a rule says of a variant; ``more`` are the figures it rests on."""
    return Finding(str(rule), rule.metric, group, variant, rule.kind, verdict, reason, **more)


def block(findings: Sequence[Finding], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The worst verdict of all rules with its exit code; without any rule nothing was judged: ERROR."""
    verdict = next((v for v in EXIT_CODES if any(f.verdict == v for f in findings)), ERROR)
    return {
        "verdict": verdict,
        "exit_code": int(EXIT_CODES[verdict]),
        "rules": [asdict(finding) for finding in findings],
        "evidence": dict(evidence),
    }
