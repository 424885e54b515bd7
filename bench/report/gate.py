"""A gate's verdict in words: for the terminal, for a job summary, for a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.formatting import format_duration, printable

Gate = Mapping[str, Any]


def lines(run: Mapping[str, Any]) -> list[str]:
    """The verdict, a line a rule with its interval, and what the gate could have seen."""
    gate = run["gate"]
    found = [f"{gate['verdict']}  {run['name']}  (exit {gate['exit_code']})"]
    found += [f"  {_rule(rule)}" for rule in gate["rules"]]
    found.append(f"  {_effort(gate['evidence'])}")
    return [printable(line) for line in found]


def markdown(run: Mapping[str, Any]) -> str:
    """For a CI job's summary page."""
    gate = run["gate"]
    rows = [
        f"| {_who(rule)} | `{rule['rule']}` | **{rule['verdict']}** | {_value(rule)} | {rule['reason']} |"
        for rule in gate["rules"]
    ]
    head = [f"### {gate['verdict']}: {run['name']}", "", "| variant | limit | verdict | measured | why |"]
    return printable("\n".join([*head, "|---|---|---|---|---|", *rows, "", _effort(gate["evidence"]), ""]))


def workflow_commands(run: Mapping[str, Any]) -> list[str]:
    """GitHub's workflow commands: an error for what fails, a warning for what could not be decided."""
    levels = {"FAIL": "error", "ERROR": "error", "SUSPECT": "error", "INCONCLUSIVE": "warning"}
    return [
        f"::{levels[rule['verdict']]} title=bench gate::{printable(_rule(rule)).replace('%', '%25')}"
        for rule in run["gate"]["rules"]
        if rule["verdict"] in levels
    ]


def beforehand(calibration: Gate | None, margin: float | None) -> str:
    """What a gate says before it starts about the change it can see."""
    if calibration is None:
        return "not calibrated: `bench calibrate` says how small a change a gate sees on this machine"
    seen, cap = calibration["detectable"], calibration["cap"]
    most = f"{cap} units, {format_duration(cap * calibration['seconds_per_unit'])}, at most"
    if seen is None:
        return (
            f"calibrated: no increase up to 30 % is found in 95 % of gates ({most}): raise --cap, or gate "
            "on a quieter machine"
        )
    text = f"calibrated: an increase of {100 * seen:g} % is found in 95 % of gates ({most})"
    if margin is not None and seen > margin:
        return f"{text}; the limit of {100 * margin:g} % is below that: expect INCONCLUSIVE"
    return text


def calibration(run: Mapping[str, Any]) -> list[str]:
    """What a calibration found."""
    found = run["calibration"]
    if found is None:
        return ["the calibration has too few undisturbed units to say anything; run it on a quieter machine"]
    return [
        f"calibrated on {found['units']} units ({found['void_units']} void), "
        f"{found['seconds_per_unit']:.1f} s each",
        f"  sd of a unit       {100 * found['unit_sd']:.2f} %  at {found['batches']} batches a unit",
        f"  of a process       {100 * found['process_sd']:.2f} %  (does not average out within a unit)",
        f"  of a batch         {100 * found['batch_sd']:.2f} %  (lag-1 autocorrelation "
        f"{found['lag1_autocorrelation']:.2f})",
        f"  counters           {'the same in every unit' if found['counters_constant'] else 'varied'}",
        f"  {beforehand(found, None)}",
    ]


def _rule(rule: Gate) -> str:
    return f"{rule['verdict']:12} {_who(rule)}: {rule['rule']}: {_value(rule)} ({rule['reason']})"


def _who(rule: Gate) -> str:
    return " ".join(filter(None, (rule["group"], rule["variant"])))


def _value(rule: Gate) -> str:
    if rule["value"] is None:
        return "-"
    bounds = ""
    if rule["low"] is not None and rule["confidence"] not in (None, 1.0):
        bounds = f" [{rule['low']:.4g}, {rule['high']:.4g}] at {100 * rule['confidence']:g} %"
    return f"{rule['value']:.4g}{bounds}"


def _effort(evidence: Gate) -> str:
    parts = [f"{evidence['units']} units"]
    if evidence["units_from_earlier_runs"]:
        parts.append(f"{evidence['units_from_earlier_runs']} of them from an earlier gate on the same code")
    if evidence["void_units"]:
        parts.append(f"{evidence['void_units']} void")
    if evidence["seconds_per_unit"]:
        parts.append(f"{format_duration(evidence['seconds_per_unit'])} each")
    return f"{', '.join(parts)}; {beforehand(evidence.get('calibration'), None)}"
