"""``run.json`` as frozen records: the results of a run, in the words that reports, gates and comparisons use.

The file keeps its schema (version 1), and every version of the program reads what earlier versions wrote: a
key that they did not write has a default here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from bench.errors import IntegrityError, Outcome
from bench.gate.calibration import Calibration
from bench.gate.finding import GateBlock
from bench.metrics.comparisons import Comparison
from bench.records import Facts
from bench.stats.figure import Figure, Figures, Metric, value_of
from bench.stats.verdict import Design, Verdict

Json = Mapping[str, Any]
SCHEMA_VERSION = 1


class RunStatus(StrEnum):
    """How a whole run ended.

    ``ok``: every row was measured or could not run here. ``partial``: some failed, or the run was cut short.
    ``invalid``: there is nothing to compare with.
    """

    OK = "ok"
    PARTIAL = "partial"
    INVALID = "invalid"


@dataclass(frozen=True)
class Evidence:
    """Evidence that a row is what it says.

    It holds the checks of every step, the bytes by dtype, and the operators of one decode step.
    """

    steps: tuple[Json, ...] = ()
    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)
    kernels: tuple[Json, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the block as it is in ``run.json``."""
        return {
            "steps": list(self.steps),
            "bytes_by_dtype": dict(self.bytes_by_dtype),
            "kernels": list(self.kernels),
        }


@dataclass(frozen=True)
class WarmUpFound:
    """The times of the first requests, and whether they became steady."""

    durations_ms: tuple[float, ...]
    steady: bool


@dataclass(frozen=True)
class Row:
    """A baseline or a variant: what was asked for, what was loaded, and every figure of it."""

    name: str
    group: str
    is_baseline: bool
    status: Outcome
    reason: str
    model: Json
    runtime: Json
    workload: Json
    optimisations: tuple[str, ...]
    evidence: Evidence | None
    facts: Facts | None
    one_off_s: float | None
    warm_up: WarmUpFound | None
    energy_reason: str | None
    drift_reason: str | None
    noise: tuple[Json, ...]
    metrics: Figures
    drift: Figures
    void_pairs: int = 0

    @property
    def ok(self) -> bool:
        """Return whether the row was measured to the end."""
        return self.status == Outcome.OK

    @property
    def title(self) -> str:
        """Return the row's name within the run: the cell of the sweep, if there is one, and the variant."""
        return " ".join(filter(None, (self.group, self.name)))

    @property
    def key(self) -> tuple[str, str]:
        """Return what distinguishes the row from every other row of the run."""
        return self.group, self.name

    def figure(self, metric: Metric | str) -> Figure | None:
        """Return a figure of the row, drift included; None if it was not measured."""
        key = metric if isinstance(metric, str) else metric.key
        return self.metrics.get(key) or self.drift.get(key)

    def figures(self) -> Iterator[tuple[str, Figure | None]]:
        """Yield every figure that a row of this run may have, by its metric's key."""
        yield from self.metrics.items()
        yield from self.drift.items()

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is in ``run.json``."""
        return {
            "name": self.name,
            "group": self.group,
            "is_baseline": self.is_baseline,
            "status": self.status,
            "reason": self.reason,
            "model": self.model,
            "runtime": self.runtime,
            "workload": self.workload,
            "optimisations": list(self.optimisations),
            "evidence": self.evidence.to_json() if self.evidence else None,
            "facts": asdict(self.facts) if self.facts else None,
            "one_off_s": self.one_off_s,
            "warm_up": (
                {"durations_ms": list(self.warm_up.durations_ms), "steady": self.warm_up.steady}
                if self.warm_up
                else None
            ),
            "energy_reason": self.energy_reason,
            "drift_reason": self.drift_reason,
            "void_pairs": self.void_pairs,
            "noise": list(self.noise),
            "metrics": _figures_to_json(self.metrics),
            "drift": _figures_to_json(self.drift),
        }

    @classmethod
    def from_json(cls, found: Json) -> Row:
        """Read back what ``to_json`` writes, and what earlier versions wrote."""
        evidence, warm_up = found["evidence"], found.get("warm_up")
        return cls(
            name=found["name"],
            group=found["group"],
            is_baseline=found["is_baseline"],
            status=Outcome(found["status"]),
            reason=found["reason"],
            model=found["model"],
            runtime=found["runtime"],
            workload=found["workload"],
            optimisations=tuple(found["optimisations"]),
            evidence=evidence
            and Evidence(
                tuple(evidence.get("steps", ())),
                evidence.get("bytes_by_dtype", {}),
                tuple(evidence.get("kernels", ())),
            ),
            facts=_facts(found["facts"]) if found["facts"] else None,
            one_off_s=found.get("one_off_s"),
            warm_up=warm_up and WarmUpFound(tuple(warm_up["durations_ms"]), warm_up["steady"]),
            energy_reason=found.get("energy_reason"),
            drift_reason=found.get("drift_reason"),
            noise=tuple(found.get("noise") or ()),
            metrics=_figures_from_json(found["metrics"]),
            drift=_figures_from_json(found["drift"]),
            void_pairs=found.get("void_pairs", 0),
        )


@dataclass(frozen=True)
class RunSummary:
    """One run: its identity, time, machine and price; a row for each arm; the ratios; the gate's verdict."""

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

    def comparison(self, row: Row, metric: Metric | str) -> Comparison | None:
        """Return the row's ratio to its baseline on one metric, if there is one."""
        key = metric if isinstance(metric, str) else metric.key
        wanted = (row.group, row.name, key)
        return next((one for one in self.comparisons if (one.group, one.variant, one.metric) == wanted), None)

    def ratios_of(self, row: Row) -> list[Comparison]:
        """Return every ratio of the row to its baseline."""
        return [one for one in self.comparisons if (one.group, one.variant) == row.key]

    def baseline_of(self, row: Row) -> Row:
        """Return the baseline in the row's own cell of the sweep."""
        return next(one for one in self.rows if one.is_baseline and one.group == row.group)

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the cells of the sweep in order; without a sweep this is a single ''."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    def flat_rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each row, ready for a DataFrame.

        It holds names, status, each figure with its interval, and each ratio to the baseline.
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
        for key, figure in row.figures():
            flat[key] = value_of(figure)
            flat[f"{key}_ci_low"] = figure.ci_low if figure else None
            flat[f"{key}_ci_high"] = figure.ci_high if figure else None
        for one in self.ratios_of(row):
            flat[f"{one.metric}_ratio"] = one.ratio
            flat[f"{one.metric}_ratio_ci_low"] = one.ci_low
            flat[f"{one.metric}_ratio_ci_high"] = one.ci_high
            flat[f"{one.metric}_verdict"] = str(one.verdict)
        return flat

    def to_json(self) -> dict[str, Any]:
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
            "comparisons": [asdict(one) for one in self.comparisons],
            "gate": self.gate.to_json() if self.gate else None,
            "calibration": asdict(self.calibration) if self.calibration else None,
        }

    @classmethod
    def from_json(cls, found: object) -> RunSummary:
        """Read back what ``to_json`` writes, and what earlier versions wrote.

        Raises IntegrityError for anything that is not a run of schema version 1.
        """
        if not isinstance(found, Mapping) or found.get("schema_version") != SCHEMA_VERSION:
            raise IntegrityError(f"not a run of schema version {SCHEMA_VERSION}")
        try:
            return cls(
                **{key: found[key] for key in _PLAIN},
                status=RunStatus(found["status"]),
                reasons=tuple(found["reasons"]),
                rows=tuple(Row.from_json(row) for row in found["variants"]),
                comparisons=tuple(_comparison(one) for one in found["comparisons"]),
                gate=GateBlock.from_json(found["gate"]) if found.get("gate") else None,
                calibration=Calibration(**found["calibration"]) if found.get("calibration") else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as bad:
            raise IntegrityError(
                f"damaged ({type(bad).__name__}: {bad}); `bench verify` makes it again from the journal"
            ) from None


_PLAIN = (
    "schema_version", "run_id", "name", "started_utc", "finished_utc", "harness", "spec",
    "spec_digest", "machine", "price", "model", "text",
)  # fmt: skip
_FACTS = frozenset(one.name for one in fields(Facts))
_COMPARISON = tuple(one.name for one in fields(Comparison))


def _comparison(found: Json) -> Comparison:
    known = {key: found[key] for key in _COMPARISON if key in found}
    return Comparison(**{**known, "verdict": Verdict(found["verdict"]), "design": Design(found["design"])})


def _facts(found: Json) -> Facts:
    return Facts(**{key: value for key, value in found.items() if key in _FACTS})


def in_turns(one: Comparison | None) -> bool:
    """Return whether both sides of a ratio were measured in turns."""
    return one is not None and one.design != Design.SOLO


def _figures_to_json(figures: Figures) -> dict[str, dict[str, Any] | None]:
    return {key: figure.to_json() if figure else None for key, figure in figures.items()}


def _figures_from_json(found: Mapping[str, Json | None]) -> Figures:
    return {key: Figure.from_json(figure) if figure else None for key, figure in found.items()}
