"""A model that decodes otherwise than it reads a whole text: known by its replies, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, run_record

from bench.drift.suites import generation
from bench.gate.contradicted_drift import suspected
from bench.gate.findings import Finding, GateVerdict
from bench.metrics import numerics, output_drift
from bench.metrics.replies_against_text import LEAST_DIFFER, contradicted
from bench.results import pareto_front
from bench.results.summarise import summarise
from bench.stats.figure import Figures
from bench.stats.intervals import Interval


def figures(
    low: float | None = 0.4, agrees: float = 1.0, differ: int = 6, n: int = 1000, other: float | None = None
) -> Figures:
    """Return the figures of a row whose replies differ first at one token in two."""
    rate = Interval(0.5, low, low if low is None else 0.6)
    return {
        generation.RATE.key: generation.RATE.scalar(rate, n=6, differ=differ),
        output_drift.TOP1.key: output_drift.TOP1.scalar(Interval(agrees, agrees, 1.0), n=n),
        numerics.OTHER_RUNS.key: numerics.OTHER_RUNS.scalar(other, n=6),
    }


def test_replies_that_differ_at_once_contradict_a_text_without_a_changed_token() -> None:
    assert contradicted(figures().get) == (
        "6 of 6 replies differ, after 2.0 tokens on average: one token at a time it computes something else "
        "than over a whole text"
    )


@pytest.mark.parametrize(
    ("given", "contradicts"),
    [
        ({"agrees": 0.91}, False),  # a changed token in eleven: five times that is 0.45
        ({"agrees": 0.93}, True),
        ({"low": 0.014, "n": 1000}, False),  # of 1,000 tokens without a change up to 0.3 % may change
        ({"low": 0.016, "n": 1000}, True),
        ({"low": None}, False),
        ({"differ": LEAST_DIFFER}, True),
        ({"differ": LEAST_DIFFER - 1}, False),
        ({"other": 3.0}, True),
        ({"other": 4.0}, False),  # its own replies differ in another process
    ],
)
def test_where_it_begins(given: dict[str, Any], contradicts: bool) -> None:
    assert (contradicted(figures(**given).get) is not None) is contradicts


def test_what_was_not_compared_contradicts_nothing() -> None:
    for key in (generation.RATE.key, output_drift.TOP1.key):
        assert contradicted({**figures(), key: None}.get) is None
    assert contradicted({}.get) is None


def finding(metric: str, verdict: GateVerdict) -> Finding:
    return Finding(f"{metric} max 1", metric, "", "v", "interval", verdict, "as it was")


def test_a_limit_on_drift_is_suspect_instead_of_passed() -> None:
    rows = {("", "v"): figures()}
    (drift,) = suspected([finding("kld_mean", GateVerdict.PASS)], rows)
    assert drift.verdict == GateVerdict.SUSPECT
    assert "replies differ" in drift.reason
    untouched = [finding("kld_mean", GateVerdict.FAIL), finding("weights_bytes", GateVerdict.PASS)]
    assert list(suspected(untouched, rows)) == untouched
    alike = [finding("kld_mean", GateVerdict.PASS)]
    assert list(suspected(alike, {("", "v"): figures(agrees=0.9)})) == alike
    assert list(suspected(alike, {})) == alike


@pytest.mark.parametrize(("agrees", "on_the_front"), [(1.0, False), (0.9, True)])
def test_such_a_row_is_on_no_front(
    agrees: float, on_the_front: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be the cheapest row without any drift."""
    monkeypatch.setattr(pareto_front, "_ratio", lambda _run, row: 1.0 if row.is_baseline else 0.5)
    drift = {**figures(agrees=agrees), output_drift.KLD.key: output_drift.KLD.scalar(0.0)}
    run = summarise(run_record(arm_record(), arm_record("v")))
    rows = tuple(row if row.is_baseline else replace(row, drift=drift) for row in run.rows)
    assert ("v" in pareto_front.fronts(replace(run, rows=rows))[""]) is on_the_front
