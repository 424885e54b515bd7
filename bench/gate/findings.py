"""Define the result of a gate: a finding for each rule and variant, and the worst verdict of all findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from bench.errors import ExitCode
from bench.formatting import row_title
from bench.gate.calibration import Calibration
from bench.gate.limits import Rule
from bench.records.json_form import Json

BROKEN = "the base itself does not run, so there is nothing to compare with"
NO_BASE = "nothing to compare with"  # the first words of the reason if the base has no such config


class GateVerdict(StrEnum):
    """List the verdicts from the worst to the best. The worst of all findings is the verdict of the gate.

    BROKEN_BASE means that nothing was judged because the base does not run and the candidate does. UNREACHED
    means that the measured process reads nothing that differs between the commits, or that the base has no
    such config. IDENTICAL means the same as UNREACHED, if the user allows it.
    """

    FAIL = "FAIL"
    ERROR = "ERROR"
    SUSPECT = "SUSPECT"
    BROKEN_BASE = "BROKEN_BASE"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNREACHED = "UNREACHED"
    PASS = "PASS"
    IDENTICAL = "IDENTICAL"


EXIT_CODES = {
    GateVerdict.FAIL: ExitCode.FAIL,
    GateVerdict.ERROR: ExitCode.FAILED,
    GateVerdict.SUSPECT: ExitCode.SUSPECT,
    GateVerdict.BROKEN_BASE: ExitCode.BROKEN_BASE,
    GateVerdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    GateVerdict.UNREACHED: ExitCode.UNREACHED,
    GateVerdict.PASS: ExitCode.OK,
    GateVerdict.IDENTICAL: ExitCode.OK,
}


@dataclass(frozen=True)
class Finding:
    """Record the verdict of one rule on one variant.

    ``value`` has the bounds ``low`` and ``high``; all three are ratios for relative limits.
    """

    rule: str
    metric: str
    group: str
    variant: str
    kind: str
    verdict: GateVerdict
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    units: int = 0
    evidence_fail: float | None = None
    evidence_pass: float | None = None
    more_may_help: bool = False

    @property
    def title(self) -> str:
        """Return the name of the variant that was judged, with its values of the sweep if there is one."""
        return row_title(self.group, self.variant)


@dataclass(frozen=True)
class Effort:
    """Describe the measurements on which a gate is based.

    ``mode`` is what was compared (``commits``, ``code``, ``config``, ``run``, ``stored``). In
    ``units_sharing`` of the units that count both sides worked at the same time on one processor. ``details``
    holds everything else that the gate's journal says about it.
    """

    mode: str
    units: int = 0
    void_units: int = 0
    units_from_earlier_runs: int = 0
    units_sharing: int = 0
    seconds_per_unit: float | None = None
    calibration: Calibration | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return the block as JSON for ``run.json``."""
        own = {key: value for key, value in vars(self).items() if key not in ("details", "calibration")}
        calibration = asdict(self.calibration) if self.calibration else None
        return {**self.details, **own, "calibration": calibration}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Effort:
        """Read back what ``to_json`` writes."""
        own = ("mode", "units", "void_units", "units_from_earlier_runs", "units_sharing", "seconds_per_unit")
        calibration = stored.get("calibration")
        return cls(
            **{key: stored[key] for key in own if key in stored},
            calibration=Calibration(**calibration) if calibration else None,
            details={k: v for k, v in stored.items() if k not in (*own, "calibration")},
        )


@dataclass(frozen=True)
class GateBlock:
    """Hold the ``gate`` block of ``run.json``."""

    verdict: GateVerdict
    rules: tuple[Finding, ...]
    effort: Effort

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of ``bench gate``."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> Json:
        """Return the block as JSON for ``run.json``."""
        return {
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "rules": [asdict(rule) for rule in self.rules],
            "evidence": self.effort.to_json(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> GateBlock:
        """Read back what ``to_json`` writes. Raises KeyError, TypeError and ValueError for anything else."""
        rules = tuple(
            Finding(**{**rule, "verdict": GateVerdict(rule["verdict"])}) for rule in stored["rules"]
        )
        return cls(GateVerdict(stored["verdict"]), rules, Effort.from_json(stored["evidence"]))


def finding(rule: Rule, key: tuple[str, str], verdict: GateVerdict, reason: str, **more: Any) -> Finding:
    """Make the finding of a rule on the variant ``key``, which is its group and name.

    ``more`` holds the other fields of the finding: the figures by which it was judged.
    """
    return Finding(str(rule), rule.metric, *key, rule.kind, verdict, reason, **more)


def block(findings: Sequence[Finding], effort: Effort) -> GateBlock:
    """Make the block of a gate, whose verdict is the worst of all findings; ERROR if there is no finding."""
    verdicts = {each.verdict for each in findings}
    worst = next((verdict for verdict in GateVerdict if verdict in verdicts), GateVerdict.ERROR)
    return GateBlock(worst, tuple(findings), effort)
