"""Put a gate's verdict into words: for the terminal, a job summary, a pull request and a calibration."""

from __future__ import annotations

from dataclasses import replace

from bench.formatting import count, format_duration
from bench.gate.calibration import Calibration
from bench.gate.findings import Effort, Finding, GateBlock, GateVerdict
from bench.records import Json
from bench.report.formats import harmless
from bench.report.formats.markdown import about, escape, rules_table
from bench.report.gate_reading import advice, advice_on, in_words, summary, worst_first
from bench.report.gate_sides import MOST_LETTERS, between_commits, compared

MARKER = "<!-- inference-cost-bench -->"  # a CI job finds its own comment by this marker
MOST_RULES = 50  # rules in a comment; GitHub cuts a comment off at 65,536 characters
LONGEST_REASON = 4 * MOST_LETTERS  # characters of a rule's reason in a comment
LEVELS = {
    GateVerdict.FAIL: "error",
    GateVerdict.ERROR: "error",
    GateVerdict.SUSPECT: "error",
    GateVerdict.BROKEN_BASE: "error",
    GateVerdict.INCONCLUSIVE: "warning",
    GateVerdict.UNREACHED: "warning",
}


def lines(name: str, gate: GateBlock) -> list[str]:
    """Return the lines that a terminal shows for a gate of the run called ``name``.

    The verdict comes first, then what was compared, then each rule with its interval, then what to do next if
    that is known. The last line says how much was measured and which change the gate could have seen.
    """
    name, gate = harmless(name), harmless(gate)
    shown = [f"{gate.verdict}  {name}  (exit {int(gate.exit_code)})"]
    shown += [f"  {line}" for line in compared(gate.effort).lines]
    shown += [f"  {in_words(rule)}" for rule in gate.rules]
    shown += [f"  {said}"] if (said := advice_on(gate)) else []
    return [*shown, f"  {_effort(gate.effort)}"]


def differences(block: Json, base: str, candidate: str) -> list[str]:
    """Say what differs between the commits of a gate, before anything is measured."""
    first, *rest = harmless(between_commits(block, base, candidate)).lines
    return [first, *(f"  {line}" for line in rest)]


def markdown(name: str, gate: GateBlock) -> str:
    """Write the verdict for a CI job's summary page."""
    gate = harmless(gate)
    return "\n".join([
        f"### {gate.verdict}: {escape(harmless(name))}", "", *rules_table(gate.rules), "", *about(gate), "",
        _effort(gate.effort), "",
    ])  # fmt: skip


def comment(name: str, gate: GateBlock) -> str:
    """Write the verdict as a comment on a pull request.

    It begins with ``MARKER``, an HTML comment that GitHub does not show: the next job finds its earlier
    comment by it, and overwrites that. The rule with the worst verdict comes first. Rules beyond
    ``MOST_RULES`` are only counted, so that the comment stays below GitHub's limit.
    """
    return f"{MARKER}\n{comment_body(name, gate)}"


def comment_body(name: str, gate: GateBlock) -> str:
    """Write the comment on a pull request, without its marker."""
    gate = harmless(gate)
    rules = tuple(replace(rule, reason=_cut(rule.reason)) for rule in worst_first(gate.rules))
    more = [f"{len(rules) - MOST_RULES} more rules are in the run's report.", ""]
    return "\n".join([
        f"### {gate.verdict}: {escape(_cut(harmless(name)))}", "",
        escape(summary(replace(gate, rules=rules))), "",
        *rules_table(rules[:MOST_RULES]), "", *(more if len(rules) > MOST_RULES else []),
        "<details><summary>What was compared, and what differs</summary>", "",
        *about(gate), "", _effort(gate.effort), "", "</details>", "",
    ])  # fmt: skip


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def workflow_commands(gate: GateBlock) -> list[str]:
    """Write GitHub's workflow commands: errors for failed rules, warnings for rules without a decision."""
    return [
        _command(LEVELS[rule.verdict], "bench gate", _with_advice(rule))
        for rule in harmless(gate).rules
        if rule.verdict in LEVELS
    ]


def failure(message: str) -> tuple[str, str]:
    """Return (text for a job's summary page, workflow command) for a gate that ended without a verdict."""
    indented = "\n".join(f"    {line}" for line in message.splitlines())
    return f"### No verdict\n\n{indented}\n\n", _command("error", "bench gate", message)


def _with_advice(rule: Finding) -> str:
    return " ".join(filter(None, (in_words(rule), advice(rule))))


def _command(level: str, title: str, message: str) -> str:
    """Write one workflow command, with the characters escaped at which GitHub would cut it off."""
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{message}"


def beforehand(calibration: Calibration | None, margin: float | None) -> str:
    """Say, before a gate starts, which change it can detect."""
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


def calibration(result: Calibration | None) -> list[str]:
    """Return the lines that describe the result of a calibration."""
    if result is None:
        return ["the calibration has too few undisturbed units to say anything; run it on a quieter machine"]
    units, each_s = f"{result.units} units ({result.void_units} void)", result.seconds_per_unit
    return [
        f"calibrated on {units}, {each_s:.1f} s each",
        f"  sd of a unit       {100 * result.unit_sd:.2f} %  at {result.batches} batches per unit",
        f"  of a process       {100 * result.process_sd:.2f} %  (does not average out within a unit)",
        f"  of a batch         {100 * result.batch_sd:.2f} %  (lag-1 autocorrelation "
        f"{result.lag1_autocorrelation:.2f})",
        f"  counters           {'the same in every unit' if result.counters_constant else 'varied'}",
        f"  {beforehand(result, None)}",
    ]


def _effort(effort: Effort) -> str:
    if "unmeasured" in effort.details:
        return "nothing was measured"
    if effort.mode == "stored":
        return "the figures of both runs were judged as they are, without units of a gate"
    if effort.mode == "run":
        pairs = (
            f"{count(effort.units, 'pair')} of new processes"
            if effort.units
            else "no valid pairs of processes"
        )
        void = f", {effort.void_units} void" if effort.void_units else ""
        return f"the run was judged by what it has, {pairs}{void}; nothing was measured again"
    parts = [count(effort.units, "unit")]
    if effort.units_from_earlier_runs:
        parts.append(f"{effort.units_from_earlier_runs} of them from an earlier gate on the same code")
    if effort.units_sharing:
        some = "" if effort.units_sharing == effort.units else f"{effort.units_sharing} of them with "
        parts.append(f"{some}both sides at the same time on one processor")
    if effort.void_units:
        parts.append(f"{effort.void_units} void")
    if effort.seconds_per_unit:
        parts.append(f"{format_duration(effort.seconds_per_unit)} each")
    return f"{', '.join(parts)}; {beforehand(effort.calibration, None)}"
