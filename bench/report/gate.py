"""Put a gate's verdict into words, for the terminal, for a job summary and for a calibration."""

from __future__ import annotations

from collections.abc import Sequence

from bench.formatting import format_duration
from bench.gate.calibration import Calibration
from bench.gate.finding import Effort, Finding, GateBlock, GateVerdict
from bench.records import Json
from bench.report.formats import harmless
from bench.report.formats.markdown import escape

MOST_NAMES = 8
LEVELS = {
    GateVerdict.FAIL: "error",
    GateVerdict.ERROR: "error",
    GateVerdict.SUSPECT: "error",
    GateVerdict.INCONCLUSIVE: "warning",
    GateVerdict.UNREACHED: "warning",
}


def lines(name: str, gate: GateBlock) -> list[str]:
    """Return the verdict on the run called ``name``, a line for each rule with its interval, and the effort.

    The last line also says what change the gate could have seen.
    """
    name, gate = harmless(name), harmless(gate)
    found = [f"{gate.verdict}  {name}  (exit {int(gate.exit_code)})"]
    found += [f"  {_rule(rule)}" for rule in gate.rules]
    found.append(f"  {_effort(gate.effort)}")
    return found


def differences(found: Json, base: str, candidate: str) -> list[str]:
    """Say what differs between the commits of a gate, before anything is measured."""
    lines = [f"compare {base} with {candidate}"]
    for what in ("config", "packages"):
        lines += [f"  {what}: {one['what']}: {one['base']} → {one['candidate']}" for one in found[what]]
    if found["files"]:
        lines.append(f"  files: {_few(found['files'])}")
    if len(lines) == 1:
        lines.append("  nothing differs: not a file, not a package, not a key of the config")
    return harmless(lines)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def markdown(name: str, gate: GateBlock) -> str:
    """Write the verdict for a CI job's summary page."""
    gate = harmless(gate)
    rows = [
        f"| {escape(rule.title)} | {escape(rule.rule)} | **{rule.verdict}** | {_value(rule)} "
        f"| {escape(rule.reason)} |"
        for rule in gate.rules
    ]
    head = [
        f"### {gate.verdict}: {escape(harmless(name))}",
        "",
        "| variant | limit | verdict | measured | why |",
    ]
    return "\n".join([*head, "|---|---|---|---|---|", *rows, "", _effort(gate.effort), ""])


def workflow_commands(gate: GateBlock) -> list[str]:
    """Write GitHub's workflow commands: an error for what fails, a warning for what could not be decided."""
    return [
        f"::{LEVELS[rule.verdict]} title=bench gate::{_rule(rule).replace('%', '%25')}"
        for rule in harmless(gate).rules
        if rule.verdict in LEVELS
    ]


def beforehand(calibration: Calibration | None, margin: float | None) -> str:
    """Say, before a gate starts, what change it can see."""
    if calibration is None:
        return "not calibrated: `bench calibrate` says how small a change a gate sees on this machine"
    seen, cap = calibration.detectable, calibration.cap
    most = f"{cap} units, {format_duration(cap * calibration.seconds_per_unit)}, at most"
    if seen is None:
        return (
            f"calibrated: no increase up to 30 % is found in 95 % of gates ({most}): raise --cap, or gate "
            "on a quieter machine"
        )
    text = f"calibrated: an increase of {100 * seen:g} % is found in 95 % of gates ({most})"
    if margin is not None and seen > margin:
        return f"{text}; the limit of {100 * margin:g} % is below that: expect INCONCLUSIVE"
    return text


def calibration(found: Calibration | None) -> list[str]:
    """Say what a calibration found."""
    if found is None:
        return ["the calibration has too few undisturbed units to say anything; run it on a quieter machine"]
    return [
        f"calibrated on {found.units} units ({found.void_units} void), {found.seconds_per_unit:.1f} s each",
        f"  sd of a unit       {100 * found.unit_sd:.2f} %  at {found.batches} batches per unit",
        f"  of a process       {100 * found.process_sd:.2f} %  (does not average out within a unit)",
        f"  of a batch         {100 * found.batch_sd:.2f} %  (lag-1 autocorrelation "
        f"{found.lag1_autocorrelation:.2f})",
        f"  counters           {'the same in every unit' if found.counters_constant else 'varied'}",
        f"  {beforehand(found, None)}",
    ]


def _rule(rule: Finding) -> str:
    return f"{rule.verdict:12} {rule.title}: {rule.rule}: {_value(rule)} ({rule.reason})"


def _value(rule: Finding) -> str:
    if rule.value is None:
        return "-"
    bounds = ""
    if rule.low is not None and rule.confidence not in (None, 1.0):
        bounds = f" [{rule.low:.4g}, {rule.high:.4g}] at {100 * rule.confidence:g} %"
    return f"{rule.value:.4g}{bounds}"


def _effort(effort: Effort) -> str:
    parts = [f"{effort.units} units"]
    if effort.units_from_earlier_runs:
        parts.append(f"{effort.units_from_earlier_runs} of them from an earlier gate on the same code")
    if effort.void_units:
        parts.append(f"{effort.void_units} void")
    if effort.seconds_per_unit:
        parts.append(f"{format_duration(effort.seconds_per_unit)} each")
    return f"{', '.join(parts)}; {beforehand(effort.calibration, None)}"
