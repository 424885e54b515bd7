"""Judge a cost by exact counts (tokens, forward calls, the price of an hour) before it is judged by times."""

from __future__ import annotations

import math

from bench.gate.limits import Rule
from bench.gate.reach import same_row
from bench.gate.verdict import Finding, GateVerdict, finding
from bench.metrics import cost
from bench.metrics.unit_ratios import price_shift
from bench.records import ArmRecord, RunRecord

# If only code changed and the cost falls below this ratio, an error in the measurement is more likely than
# such an improvement.
IMPROBABLE_RATIO = 0.7
# If any of these counters grows, the same request takes more work, whatever the times say.
_WORK = ("output_tokens", "forward_calls")


def only_code_differs(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> bool:
    """Return whether both sides run the same config, so that their counters and prices should be equal."""
    if (run.gate or {}).get("mode") == "commits":
        return same_row(base, variant)
    return (run.gate or {}).get("mode") == "code"


def counters_hold(run: RunRecord) -> bool:
    """Return whether counters were equal in every unit of the calibration; True without a calibration."""
    calibration = (run.gate or {}).get("calibration") or {}
    return bool(calibration.get("counters_constant", True))


def more_work(run: RunRecord, rule: Rule, base: ArmRecord, variant: ArmRecord) -> Finding | None:
    """Judge a cost by exact counts (tokens, forward calls, price) if both sides have the same config.

    Returns FAIL if a count or the price grew beyond the limit, SUSPECT if a count fell improbably far, and
    None if the counts do not decide.
    """
    if not only_code_differs(run, base, variant) or rule.metric not in (
        cost.PER_1K.key,
        cost.PER_REQUEST.key,
    ):
        return None
    if base.cascade is not None or variant.cascade is not None:
        return None  # its cost depends on which model answers, so only the dollars of its units can decide
    if not counters_hold(run):
        return None  # counters that vary cannot decide, but times can
    changes = {"price of an hour": price_shift(run, base, variant, cost.PER_REQUEST.key)}
    for key in () if _whole_answers(run, variant) else _WORK:
        of_variant, of_base = (getattr(arm.counters, key, None) for arm in (variant, base))
        if of_variant and of_base:
            changes[key] = math.log(of_variant / of_base)
    row = variant.group, variant.name
    what, growth = max(changes.items(), key=lambda item: item[1])
    least, fall = min(changes.items(), key=lambda item: item[1])
    if growth > rule.margin:
        ratio = math.exp(growth)
        reason = f"{what} is {ratio:.4g} times the baseline's: counted, not timed"
        exact = {"value": ratio, "low": ratio, "high": ratio, "confidence": 1.0}
        return finding(rule, row, GateVerdict.FAIL, reason, **exact)
    if least in _WORK and math.exp(fall) < IMPROBABLE_RATIO:
        reason = f"{least} fell to {math.exp(fall):.2g} of the baseline's: is the same work still done?"
        return finding(rule, row, GateVerdict.SUSPECT, reason, value=math.exp(fall))
    return None


def _whole_answers(run: RunRecord, variant: ArmRecord) -> bool:
    """Return whether each answer comes all at once; its length may then vary, so one count proves nothing."""
    return any(len(turns) == 1 for unit in run.units_of(variant) for turns in unit.variant_ns)
