"""Judge a cost by exact counts (tokens, forward calls, the price of an hour) before it is judged by times."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.gate.change_impact import same_row
from bench.gate.findings import Finding, GateVerdict, finding
from bench.gate.limits import ROUNDING, Rule
from bench.metrics import cost, counters
from bench.metrics.unit_ratios import price_shift
from bench.records import ArmRecord, Counted, RunRecord, Sides

# If only code changed and the cost falls below this ratio, an error in the measurement is more likely than
# such an improvement.
IMPROBABLE_RATIO = 0.7
# If any of these counters grows, the same request takes more work, whatever the times say.
_WORK = ("output_tokens", "forward_calls")
# So many units must count the same, if nobody has calibrated, before a count of whole answers is exact.
ENOUGH_COUNTS = 3
COUNTERS = frozenset(metric.key for metric in counters.METRICS)


def only_code_differs(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> bool:
    """Return whether both sides run the same config, so that their counters and prices should be equal."""
    if (run.gate or {}).get("mode") == "commits":
        return same_row(base, variant)
    return (run.gate or {}).get("mode") == "code"


def counters_hold(run: RunRecord, variant: ArmRecord) -> bool:
    """Return whether counters can be taken for exact: the calibration says so or, without one, every unit has
    counted the same."""
    calibration = (run.gate or {}).get("calibration")
    if calibration:
        return bool(calibration.get("counters_constant", True))
    counted = _counted(run, variant)
    return all(one == counted[0] for one in counted)


def is_exact(run: RunRecord, rule: Rule, variant: ArmRecord) -> bool:
    """Return whether a rule of the exact channel can be judged by a plain comparison. Whole answers may vary
    in length, so without a calibration a few units must agree on a count of them."""
    return counters_hold(run, variant) and not _too_few(run, [rule], variant)


def more_counts(run: RunRecord, wanted: Iterable[Rule], variant: ArmRecord) -> bool:
    """Return whether another unit may show that counts are exact."""
    return bool(_counted(run, variant)) and counters_hold(run, variant) and _too_few(run, wanted, variant)


def _too_few(run: RunRecord, wanted: Iterable[Rule], variant: ArmRecord) -> bool:
    if (run.gate or {}).get("calibration") or not any(rule.metric in COUNTERS for rule in wanted):
        return False
    return _whole_answers(run, variant) and len(_counted(run, variant)) < ENOUGH_COUNTS


def _counted(run: RunRecord, variant: ArmRecord) -> list[Sides[Counted]]:
    return [unit.counters for unit in run.units_of(variant) if unit.counters is not None]


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
    changes = {"price of an hour": price_shift(run, base, variant, cost.PER_REQUEST.key)}
    countable = counters_hold(run, variant) and not _whole_answers(run, variant)
    for key in _WORK if countable else ():  # what varies cannot decide, but time can
        of_variant, of_base = (getattr(arm.counters, key, None) for arm in (variant, base))
        if of_variant and of_base:
            changes[key] = math.log(of_variant / of_base)
    row = variant.group, variant.name
    what, growth = max(changes.items(), key=lambda item: item[1])
    least, fall = min(changes.items(), key=lambda item: item[1])
    if growth > rule.margin + ROUNDING:
        ratio = math.exp(growth)
        reason = f"{what} is {ratio:.4g} times the baseline's: counted, not timed"
        shown = {"value": ratio, "low": ratio, "high": ratio, "confidence": 1.0}
        return finding(rule, row, GateVerdict.FAIL, reason, **shown)
    if least in _WORK and math.exp(fall) < IMPROBABLE_RATIO:
        reason = f"{least} fell to {math.exp(fall):.2g} of the baseline's: is the same work still done?"
        return finding(rule, row, GateVerdict.SUSPECT, reason, value=math.exp(fall))
    return None


def _whole_answers(run: RunRecord, variant: ArmRecord) -> bool:
    """Return whether each answer comes all at once; its length may then vary, so one count proves nothing."""
    return any(len(turns) == 1 for unit in run.units_of(variant) for turns in unit.variant_ns)
