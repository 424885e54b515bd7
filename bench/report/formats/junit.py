"""JUnit XML: a test suite for each run and a test case for each variant, for a CI server's own display."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from bench.errors import Outcome
from bench.gate.finding import Finding, GateVerdict
from bench.metrics import cost, latency, output_drift
from bench.report.formats import harmless
from bench.report.reading import sentence
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of

SUFFIX = "xml"
REQUIRES: tuple[str, ...] = ()


def render(runs: Sequence[RunSummary]) -> str:
    """Write each run as a test suite.

    A failed variant is an error and an unsupported one is skipped; ``time`` is that of a mean request.
    """
    root = ET.Element("testsuites", name="inference-cost-bench")
    for run in runs:
        root.append(_suite(harmless(run)))
    ET.indent(root)
    found: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return found.decode() + "\n"


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
    suite.append(_properties({**about, "price": run.price["name"]}))
    suite.extend(cases)
    return suite


def _case(run: RunSummary, row: Row) -> ET.Element:
    classname = ".".join(filter(None, (run.name, row.group)))
    case = ET.Element("testcase", classname=classname, name=row.name)
    request_ms = value_of(row.figure(latency.E2EL))
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


def _rule(run: RunSummary, rule: Finding) -> ET.Element:
    """Write a limit of the gate as a test: FAIL and SUSPECT are failures, an undecided limit is an error."""
    where = ".".join(filter(None, (run.name, "gate", rule.group, rule.variant)))
    case = ET.Element("testcase", classname=where, name=rule.rule)
    known = {
        "value": rule.value, "low": rule.low, "high": rule.high, "confidence": rule.confidence,
        "units": rule.units,
    }  # fmt: skip
    case.append(_properties({key: value for key, value in known.items() if value is not None}))
    if rule.verdict != GateVerdict.PASS:
        failed = rule.verdict in (GateVerdict.FAIL, GateVerdict.SUSPECT)
        ET.SubElement(case, "failure" if failed else "error", type=str(rule.verdict), message=rule.reason)
    return case


def _figures(run: RunSummary, row: Row) -> dict[str, object]:
    """Return the figures that a CI job would plot; a missing figure is left out, never 0."""
    ratio = run.comparison(row, cost.PER_1K)
    found = {
        cost.PER_1K.key: value_of(row.figure(cost.PER_1K)),
        f"{cost.PER_1K.key}_ratio": ratio.ratio if ratio else None,
        f"{cost.PER_1K.key}_verdict": ratio.verdict if ratio else None,
        output_drift.KLD.key: value_of(row.figure(output_drift.KLD)),
        output_drift.TOP1.key: value_of(row.figure(output_drift.TOP1)),
    }
    return {key: value for key, value in found.items() if value is not None}


def _properties(values: Mapping[str, object]) -> ET.Element:
    properties = ET.Element("properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=str(value))
    return properties
