"""JUnit XML: a test suite for each run, a test for each variant and each rule of a gate, for a CI server."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from bench.errors import Outcome
from bench.gate.findings import Finding, GateVerdict
from bench.metrics import cost, latency, output_drift
from bench.report.formats import harmless, presented
from bench.report.gate_reading import advice, bounds, in_words, unit_of
from bench.report.gate_sides import compared
from bench.report.row_sentence import sentence
from bench.results.paired_figures import shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of

SUFFIX = "xml"
REQUIRES: tuple[str, ...] = ()

# The XML tag that says how the test of a rule ended. PASS has none.
_ENDED = {
    GateVerdict.FAIL: "failure",
    GateVerdict.SUSPECT: "failure",
    GateVerdict.ERROR: "error",
    GateVerdict.BROKEN_BASE: "error",
    GateVerdict.INCONCLUSIVE: "error",
    GateVerdict.UNREACHED: "error",
    GateVerdict.IDENTICAL: "skipped",
}


def render(runs: Sequence[RunSummary]) -> str:
    """Write each run as a test suite, with a test for each variant and for each rule of its gate.

    A failed variant is an error, and an unsupported one is skipped. ``time`` is the mean time of a request.
    """
    root = ET.Element("testsuites", name="inference-cost-bench")
    for run in runs:
        root.append(_suite(presented(run)))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def _suite(run: RunSummary) -> ET.Element:
    rules = run.gate.rules if run.gate else ()
    cases = [*(_case(run, row) for row in run.rows), *(_rule(run, rule) for rule in rules)]
    suite = ET.Element(
        "testsuite",
        name=run.name,
        timestamp=str(run.started_utc).removesuffix("Z"),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
    )
    about = {"run_id": run.run_id, "status": run.status, "spec_digest": run.spec_digest}
    suite.append(_properties({**about, "price": run.price["name"], **_gate(run)}))
    suite.extend(cases)
    return suite


def _case(run: RunSummary, row: Row) -> ET.Element:
    classname = ".".join(filter(None, (run.name, row.group)))
    case = ET.Element("testcase", classname=classname, name=row.name)
    request_ms = shown_value(run, row, latency.E2EL)
    if request_ms is not None:
        case.set("time", f"{request_ms / 1e3:.6f}")
    case.append(_properties(_figures(run, row)))
    words = harmless(sentence(run, row))
    if row.status == Outcome.UNSUPPORTED:
        ET.SubElement(case, "skipped", message=row.reason)
    elif not row.ok:
        ET.SubElement(case, "error", type=str(row.status), message=row.reason).text = words
    ET.SubElement(case, "system-out").text = words
    return case


def _gate(run: RunSummary) -> dict[str, object]:
    """Return the properties of a gate as a whole: its verdict, what it compared, and what differs."""
    if run.gate is None:
        return {}
    about = compared(run.gate.effort)
    differing = {"gate_differences": "; ".join(about.differing)} if about.differing else {}
    return {"gate_verdict": run.gate.verdict, "gate_compared": about.sides, **differing}


def _rule(run: RunSummary, rule: Finding) -> ET.Element:
    """Write a rule of the gate as a test. FAIL and SUSPECT are failures, and an undecided rule is an error.

    IDENTICAL is skipped, because there was nothing to measure. Missing figures, and bounds that tell nothing,
    are left out.
    """
    where = ".".join(filter(None, (run.name, "gate", rule.group, rule.variant)))
    case = ET.Element("testcase", classname=where, name=rule.rule)
    low, high = bounds(rule)
    known = {
        "verdict": rule.verdict, "value": rule.value, "low": low, "high": high,
        "confidence": rule.confidence, "unit": unit_of(rule), "units": rule.units,
    }  # fmt: skip
    case.append(_properties({key: value for key, value in known.items() if value is not None}))
    if rule.verdict in _ENDED:
        message = " ".join(filter(None, (rule.reason, advice(rule))))
        ended = ET.SubElement(case, _ENDED[rule.verdict], message=message)
        if ended.tag != "skipped":
            ended.set("type", str(rule.verdict))
    ET.SubElement(case, "system-out").text = in_words(rule)
    return case


def _figures(run: RunSummary, row: Row) -> dict[str, object]:
    """Return the figures that a CI job would plot. A missing figure is left out, and never written as 0."""
    ratio = run.comparison(row, cost.PER_1K)
    figures = {
        cost.PER_1K.key: shown_value(run, row, cost.PER_1K),
        f"{cost.PER_1K.key}_ratio": ratio.ratio if ratio else None,
        f"{cost.PER_1K.key}_verdict": ratio.verdict if ratio else None,
        output_drift.KLD.key: value_of(row.figure(output_drift.KLD)),
        output_drift.TOP1.key: value_of(row.figure(output_drift.TOP1)),
    }
    return {key: value for key, value in figures.items() if value is not None}


def _properties(values: Mapping[str, object]) -> ET.Element:
    properties = ET.Element("properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=str(value))
    return properties
