"""Define the records of ``run.json``: the results of a run, as reports, gates and comparisons read them.

The schema is still version 1, and every version of the program reads the files of earlier versions: a key
that they did not write has a default value here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

from bench.errors import IntegrityError
from bench.gate.calibration import Calibration
from bench.gate.findings import Finding, GateBlock
from bench.metrics.comparisons import Comparison
from bench.results.behaviour import Tested, tested
from bench.results.consistency import distinct, judged, of_measured_rows
from bench.results.paired_figures import BOTH, alone, shown
from bench.results.pareto_front import fronts
from bench.results.row import Row
from bench.stats.figure import Metric
from bench.stats.ratio_verdict import RatioDesign, Verdict

Json = Mapping[str, Any]
SCHEMA_VERSION = 1


class RunStatus(StrEnum):
    """How a run as a whole ended.

    ``ok``: every row was measured, or is not supported here. ``partial``: some rows failed, or the run was
    interrupted. ``invalid``: no baseline was measured, so there is nothing to compare with.
    """

    OK = "ok"
    PARTIAL = "partial"
    INVALID = "invalid"


@dataclass(frozen=True)
class RunSummary:
    """One run: its identity, time, machine and price, its rows, their ratios, and the gate's verdict."""

    schema_version: int
    run_id: str
    name: str
    started_utc: str
    finished_utc: str | None
    status: RunStatus
    reasons: tuple[str, ...]
    harness: Json
    spec: Json
    spec_digest: str
    machine: Json
    price: Json
    model: Json | None
    text: Json
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    gate: GateBlock | None = None
    calibration: Calibration | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each file that the config names

    def comparison(self, row: Row, metric: Metric | str) -> Comparison | None:
        """Return the row's ratio to its baseline in one metric, or None if it has no such ratio."""
        key = metric if isinstance(metric, str) else metric.key
        return self._ratios.get(row.key, {}).get(key)

    def ratios_of(self, row: Row) -> list[Comparison]:
        """Return every ratio of the row to its baseline."""
        return list(self._ratios.get(row.key, {}).values())

    def baseline_of(self, row: Row) -> Row:
        """Return the baseline in the row's own cell of the sweep.

        Raises IntegrityError if there is none; every run that was measured has one, even if it failed.
        """
        if row.group not in self._baselines:
            raise IntegrityError(f"{self.run_id}: there is no baseline beside {row.title or 'the row'}")
        return self._baselines[row.group]

    @cached_property
    def _ratios(self) -> dict[tuple[str, str], dict[str, Comparison]]:
        by_row: dict[tuple[str, str], dict[str, Comparison]] = {}
        for ratio in self.comparisons:
            by_row.setdefault((ratio.group, ratio.variant), {})[ratio.metric] = ratio
        return by_row

    @cached_property
    def _baselines(self) -> dict[str, Row]:
        return {row.group: row for row in reversed(self.rows) if row.is_baseline}

    @cached_property
    def fronts(self) -> dict[str, frozenset[str]]:
        """Return the names of the rows on the Pareto front of each cell."""
        return fronts(self)

    def on_front(self, row: Row) -> bool:
        """Return whether no row in its cell is both cheaper and closer to the baseline."""
        return row.name in self.fronts.get(row.group, ())

    @cached_property
    def behaviour(self) -> dict[tuple[str, str], list[Tested]]:
        """Return the results of the behaviour suites, by the row's key."""
        return tested({row.key: row for row in self.rows}, self._baselines)

    @cached_property
    def findings(self) -> dict[tuple[str, str], list[Finding]]:
        """Return the findings of the run's gate, by the row's key."""
        by_row: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.gate.rules if self.gate else ():
            by_row.setdefault((finding.group, finding.variant), []).append(finding)
        return by_row

    @property
    def served(self) -> bool:
        """Return whether the rows are servers that were measured under load."""
        return any(row.is_served for row in self.rows)

    def device_of(self, row: Row) -> str:
        """Return where a row ran, or nothing if that is not known. A server that the run has started is known
        to have run on the CPU if the machine has no GPU."""
        if row.facts:
            return row.facts.device
        started = "port" in row.runtime  # a setting that only such a server has
        return "cpu" if started and self.machine.get("gpus") == [] else ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the sweep's cells in order; without a sweep there is one cell called ''."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    def flat_rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each row, ready for a DataFrame.

        It has the names, the status, each figure with its interval, each ratio to the baseline, and of each
        change in a behaviour suite the items lost and gained, p (not corrected) and the verdict. The
        figures are those of the table (``paired_figures.shown``); beside the main ones stands what the row
        measured alone, as ``ttft_ms_alone``.
        """
        return [self._flat(row) for row in self.rows]

    def _flat(self, row: Row) -> dict[str, Any]:
        flat: dict[str, Any] = {
            "name": row.name,
            "group": row.group,
            "is_baseline": row.is_baseline,
            "status": str(row.status),
            "reason": row.reason,
        }
        for key, _figure in row.figures():
            interval = shown(self, row, key)
            flat[key] = float(interval.value) if interval else None
            flat[f"{key}_ci_low"] = interval.low if interval else None
            flat[f"{key}_ci_high"] = interval.high if interval else None
        for metric in BOTH:
            if (own := row.figure(metric)) is not None:
                flat[f"{metric.key}_alone"] = alone(own)
        for ratio in self.ratios_of(row):
            flat[f"{ratio.metric}_ratio"] = ratio.ratio
            flat[f"{ratio.metric}_ratio_ci_low"] = ratio.ci_low
            flat[f"{ratio.metric}_ratio_ci_high"] = ratio.ci_high
            if ratio.p is not None:
                flat[f"{ratio.metric}_ratio_p"] = ratio.p
            flat[f"{ratio.metric}_verdict"] = str(ratio.verdict)
        for test in self.behaviour.get(row.key, ()):
            for note in ("lost", "gained", "p"):
                flat[f"{test.metric}_{note}"] = test.figure.notes.get(note)
            flat[f"{test.metric}_verdict"] = test.verdict and str(test.verdict)
        return flat

    def to_json(self) -> Json:
        """Return the content of ``run.json``."""
        return {
            "schema_version": self.schema_version,
            "run_id": self.run_id,
            "name": self.name,
            "started_utc": self.started_utc,
            "finished_utc": self.finished_utc,
            "status": self.status,
            "reasons": list(self.reasons),
            "harness": self.harness,
            "spec": self.spec,
            "spec_digest": self.spec_digest,
            "machine": self.machine,
            "price": self.price,
            "model": self.model,
            "text": self.text,
            "variants": [row.to_json() for row in self.rows],
            "comparisons": [dict(vars(ratio)) for ratio in self.comparisons],
            "gate": self.gate.to_json() if self.gate else None,
            "calibration": asdict(self.calibration) if self.calibration else None,
            **({"inputs": dict(self.inputs)} if self.inputs else {}),
        }

    @classmethod
    def from_json(cls, stored: object) -> RunSummary:
        """Read what ``to_json`` writes, in this or an earlier version.

        Raises IntegrityError for anything that is not a run of schema version 1.
        """
        if not isinstance(stored, Mapping) or stored.get("schema_version") != SCHEMA_VERSION:
            raise IntegrityError(f"not a run of schema version {SCHEMA_VERSION}")
        try:
            return cls(
                **{key: stored[key] for key in _PLAIN},
                status=RunStatus(stored["status"]),
                reasons=tuple(stored["reasons"]),
                rows=(rows := distinct([Row.from_json(row) for row in stored["variants"]])),
                comparisons=tuple(of_measured_rows(rows, map(_comparison, stored["comparisons"]))),
                gate=judged(rows, stored.get("gate")),
                calibration=Calibration(**stored["calibration"]) if stored.get("calibration") else None,
                inputs=stored.get("inputs") or {},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as bad:
            raise IntegrityError(
                f"damaged ({type(bad).__name__}: {str(bad)[:200]}); without this file it is made again from "
                "the journal"
            ) from None


_PLAIN = (
    "schema_version", "run_id", "name", "started_utc", "finished_utc", "harness", "spec",
    "spec_digest", "machine", "price", "model", "text",
)  # fmt: skip
_COMPARISON = tuple(part.name for part in fields(Comparison))


def _comparison(stored: Json) -> Comparison:
    known = {key: stored[key] for key in _COMPARISON if key in stored}
    return Comparison(
        **{**known, "verdict": Verdict(stored["verdict"]), "design": RatioDesign(stored["design"])}
    )
