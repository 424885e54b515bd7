"""JUnit XML: a test suite a run, a test case a variant, for a CI server's own display."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import Outcome
from bench.metrics import cost, latency, output_drift
from bench.metrics.figure import value_of
from bench.report.formats import RunData, harmless
from bench.report.reading import comparison_of, sentence

SUFFIX = "xml"
REQUIRES: tuple[str, ...] = ()


def render(runs: Sequence[RunData]) -> str:
    """A failed variant is an error, one this machine cannot run is skipped; ``time`` is a mean request."""
    root = ET.Element("testsuites", name="inference-cost-bench")
    for run in runs:
        root.append(_suite(harmless(run)))
    ET.indent(root)
    found: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return found.decode() + "\n"


def _suite(run: RunData) -> ET.Element:
    gate = run.get("gate") or {"rules": []}
    cases = [*(_case(run, variant) for variant in run["variants"]), *(_rule(run, r) for r in gate["rules"])]
    suite = ET.Element(
        "testsuite",
        name=run["name"],
        timestamp=str(run["started_utc"]).removesuffix("Z"),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
    )
    about = {key: run[key] for key in ("run_id", "status", "spec_digest")} | {"price": run["price"]["name"]}
    suite.append(_properties(about))
    suite.extend(cases)
    return suite


def _case(run: RunData, variant: Mapping[str, Any]) -> ET.Element:
    classname = ".".join(filter(None, (run["name"], variant["group"])))
    case = ET.Element("testcase", classname=classname, name=variant["name"])
    request_ms = value_of(variant["metrics"].get(latency.E2EL.key))
    if request_ms is not None:
        case.set("time", f"{request_ms / 1e3:.6f}")
    case.append(_properties(_figures(run, variant)))
    words, status = str(harmless(sentence(run, variant))), str(variant["status"])
    if status == Outcome.UNSUPPORTED:
        ET.SubElement(case, "skipped", message=variant["reason"])
    elif status != Outcome.OK:
        ET.SubElement(case, "error", type=status, message=variant["reason"]).text = words
    ET.SubElement(case, "system-out").text = words
    return case


def _rule(run: RunData, rule: Mapping[str, Any]) -> ET.Element:
    """A limit of the gate as a test: FAIL and SUSPECT are failures, what was not decided is an error."""
    where = ".".join(filter(None, (run["name"], "gate", rule["group"], rule["variant"])))
    case = ET.Element("testcase", classname=where, name=rule["rule"])
    known = {key: rule[key] for key in ("value", "low", "high", "confidence", "units")}
    case.append(_properties({key: value for key, value in known.items() if value is not None}))
    if rule["verdict"] != "PASS":
        kind = "failure" if rule["verdict"] in ("FAIL", "SUSPECT") else "error"
        ET.SubElement(case, kind, type=rule["verdict"], message=rule["reason"])
    return case


def _figures(run: RunData, variant: Mapping[str, Any]) -> dict[str, object]:
    """What a CI job would plot; a missing figure is left out, never 0."""
    one = comparison_of(run, variant, cost.PER_1K.key)
    found = {
        cost.PER_1K.key: value_of(variant["metrics"].get(cost.PER_1K.key)),
        f"{cost.PER_1K.key}_ratio": one["ratio"] if one else None,
        f"{cost.PER_1K.key}_verdict": one["verdict"] if one else None,
        output_drift.KLD.key: value_of(variant["drift"].get(output_drift.KLD.key)),
        output_drift.TOP1.key: value_of(variant["drift"].get(output_drift.TOP1.key)),
    }
    return {key: value for key, value in found.items() if value is not None}


def _properties(values: Mapping[str, object]) -> ET.Element:
    properties = ET.Element("properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=str(value))
    return properties
