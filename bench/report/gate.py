"""Put a gate's verdict into words: for the terminal, a job summary, a pull request and a calibration."""

from __future__ import annotations

from dataclasses import replace

from bench.formatting import format_duration
from bench.gate.calibration import Calibration
from bench.gate.verdict import Effort, Finding, GateBlock, GateVerdict
from bench.records import Json
from bench.report.compared import MOST_LETTERS, between_commits, compared, counted
from bench.report.formats import harmless
from bench.report.formats.markdown import about, escape, rules_table
from bench.report.gate_reading import advice, advice_on, in_words, summary, worst_first

MARKER = "<!-- inference-cost-bench -->"  # by which a CI job finds its comment again
MOST_RULES = 50  # of a comment, which GitHub cuts off at 65,536 letters
LONGEST_REASON = 4 * MOST_LETTERS  # of a rule in a comment
LEVELS = {
    GateVerdict.FAIL: "error",
    GateVerdict.ERROR: "error",
    GateVerdict.SUSPECT: "error",
    GateVerdict.INCONCLUSIVE: "warning",
    GateVerdict.UNREACHED: "warning",
}


def lines(name: str, gate: GateBlock) -> list[str]:
    """Return the verdict on the run called ``name``, what was compared, and a line for each rule.

    A rule's line has its interval. What the verdict rests on, and what change the gate could have seen, come
    last; before that stands what to do next if that is known.
    """
    name, gate = harmless(name), harmless(gate)
    found = [f"{gate.verdict}  {name}  (exit {int(gate.exit_code)})"]
    found += [f"  {line}" for line in compared(gate.effort).lines]
    found += [f"  {in_words(rule)}" for rule in gate.rules]
    found += [f"  {said}"] if (said := advice_on(gate)) else []
    return [*found, f"  {_effort(gate.effort)}"]


def differences(found: Json, base: str, candidate: str) -> list[str]:
    """Say what differs between the commits of a gate, before anything is measured."""
    first, *rest = harmless(between_commits(found, base, candidate)).lines
    return [first, *(f"  {line}" for line in rest)]


def markdown(name: str, gate: GateBlock) -> str:
    """Write the verdict for a CI job's summary page."""
    gate = harmless(gate)
    return "\n".join([
        f"### {gate.verdict}: {escape(harmless(name))}", "", *rules_table(gate.rules), "", *about(gate), "",
        _effort(gate.effort), "",
    ])  # fmt: skip


def comment(name: str, gate: GateBlock) -> str:
    """Write the verdict as a comment on a pull request. It begins with ``MARKER``, which is not shown.

    A job that finds the marker in a comment of its own can overwrite that comment. The rules come with the
    worst verdict first; beyond ``MOST_RULES`` they are counted, so that GitHub takes the comment.
    """
    return f"{MARKER}\n{comment_body(name, gate)}"


def comment_body(name: str, gate: GateBlock) -> str:
    """Write a comment without its marker."""
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
    """Write GitHub's workflow commands: an error for what fails, a warning for what could not be decided."""
    return [
        _command(LEVELS[rule.verdict], "bench gate", _with_advice(rule))
        for rule in harmless(gate).rules
        if rule.verdict in LEVELS
    ]


def failure(message: str) -> tuple[str, str]:
    """Return what a job's page says of a gate without a verdict, and the workflow command for it."""
    indented = "\n".join(f"    {line}" for line in message.splitlines())
    return f"### No verdict\n\n{indented}\n\n", _command("error", "bench gate", message)


def _with_advice(rule: Finding) -> str:
    return " ".join(filter(None, (in_words(rule), advice(rule))))


def _command(level: str, title: str, message: str) -> str:
    """Write one command. GitHub cuts a message at a raw line break, and a title at a colon or a comma."""
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    return f"::{level} title={title.replace(':', '%3A').replace(',', '%2C')}::{message}"


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


def _effort(effort: Effort) -> str:
    if "unmeasured" in effort.details:
        return "nothing was measured"
    parts = [counted("unit", effort.units)]
    if effort.units_from_earlier_runs:
        parts.append(f"{effort.units_from_earlier_runs} of them from an earlier gate on the same code")
    if effort.void_units:
        parts.append(f"{effort.void_units} void")
    if effort.seconds_per_unit:
        parts.append(f"{format_duration(effort.seconds_per_unit)} each")
    return f"{', '.join(parts)}; {beforehand(effort.calibration, None)}"
