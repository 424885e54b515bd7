"""Define the record of one row of a run: what was configured, what was loaded, and every figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bench.errors import Outcome
from bench.formatting import row_title
from bench.metrics import cost, goodput
from bench.metrics.replies_against_text import contradicted
from bench.records import Facts, Kernel
from bench.results.examples import Example
from bench.results.flags import flags
from bench.stats.figure import Figure, Figures, Metric

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The evidence that the optimisations of a row were really in effect.

    It has the checks of every step, the bytes of the weights by dtype, and the kernels of one decode step.
    """

    steps: tuple[Json, ...] = ()
    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)
    kernels: tuple[Kernel, ...] = ()

    def to_json(self) -> Json:
        """Return the block in the form of ``run.json``."""
        return {
            "steps": list(self.steps),
            "bytes_by_dtype": dict(self.bytes_by_dtype),
            "kernels": [dict(vars(kernel)) for kernel in self.kernels],
        }


@dataclass(frozen=True)
class WarmUpTimes:
    """The times of the warm-up requests, and whether they became steady."""

    durations_ms: tuple[float, ...]
    steady: bool


@dataclass(frozen=True)
class Row:
    """A baseline or a variant: what was configured, what was loaded, and every figure."""

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
    warm_up: WarmUpTimes | None
    energy_reason: str | None
    drift_reason: str | None
    noise: tuple[Json, ...]
    metrics: Figures
    drift: Figures
    void_pairs: int = 0
    prompts_sha256: str | None = None  # the digest of the prompts' tokens
    models_sha256: Mapping[str, str] = field(default_factory=dict)  # of other models that its steps name
    examples: tuple[Example, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether the row was measured completely."""
        return self.status == Outcome.OK

    @property
    def title(self) -> str:
        """Return the row's name within the run: the cell of the sweep, if there is one, and the variant."""
        return row_title(self.group, self.name)

    @property
    def key(self) -> tuple[str, str]:
        """Return (group, name), which is unique in a run."""
        return self.group, self.name

    @property
    def flags(self) -> tuple[str, ...]:
        """Return what is doubtful about the row's replies and numbers, in words."""
        return flags(self.metrics)

    @property
    def is_served(self) -> bool:
        """Return whether the row is a server that was measured under load."""
        return self.evidence is not None and any(step.get("server") for step in self.evidence.steps)

    @property
    def random_weights(self) -> str:
        """Return ``random weights`` with the sizes that were changed, or nothing if the weights are real.

        A row of the shape of a large model has few of its layers, and its cost is not that of the model.
        """
        if not self.model.get("random"):
            return ""
        sizes = self.model.get("location")
        return f"random weights ({sizes})" if sizes else "random weights"

    @property
    def headline(self) -> Metric:
        """Return the cost metric by which the row is compared.

        It is dollars per good request for a server with limits (``slo``), else dollars per thousand tokens.
        """
        limited = self.is_served and goodput.PER_GOOD.key in self.metrics
        return goodput.PER_GOOD if limited else cost.PER_1K

    def figure(self, metric: Metric | str) -> Figure | None:
        """Return a figure of the row, also one of drift, or None if it was not measured."""
        key = metric if isinstance(metric, str) else metric.key
        return self.metrics.get(key) or self.drift.get(key)

    def figures(self) -> Iterator[tuple[str, Figure | None]]:
        """Yield (key, figure) of every metric of the run; the figure is None if it was not measured."""
        yield from self.metrics.items()
        yield from self.drift.items()

    @property
    def contradiction(self) -> str | None:
        """Return in words how the row's replies contradict its drift; None if they do not."""
        return contradicted(self.figure)

    def to_json(self) -> Json:
        """Return the row in the form of ``run.json``."""
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
            "prompts_sha256": self.prompts_sha256,
            "models_sha256": dict(self.models_sha256),
            "noise": list(self.noise),
            "flags": list(self.flags),
            "examples": [example.to_json() for example in self.examples],
            "metrics": _figures_to_json(self.metrics),
            "drift": _figures_to_json(self.drift),
        }

    @classmethod
    def from_json(cls, stored: Json) -> Row:
        """Read what ``to_json`` writes, in this or an earlier version.

        Some earlier versions wrote figures of rows that failed. These figures are left out.
        """
        evidence, warm_up = stored["evidence"], stored.get("warm_up")
        ok = stored["status"] == Outcome.OK
        return cls(
            name=stored["name"],
            group=stored["group"],
            is_baseline=stored["is_baseline"],
            status=Outcome(stored["status"]),
            reason=stored["reason"],
            model=stored["model"],
            runtime=stored["runtime"],
            workload=stored["workload"],
            optimisations=tuple(stored["optimisations"]),
            evidence=None
            if evidence is None
            else Evidence(
                tuple(evidence.get("steps", ())),
                evidence.get("bytes_by_dtype", {}),
                tuple(Kernel(**kernel) for kernel in evidence.get("kernels", ())),
            ),
            facts=_facts(stored["facts"]) if stored["facts"] else None,
            one_off_s=stored.get("one_off_s"),
            warm_up=warm_up and WarmUpTimes(tuple(warm_up["durations_ms"]), warm_up["steady"]),
            energy_reason=stored.get("energy_reason"),
            drift_reason=stored.get("drift_reason"),
            noise=tuple(stored.get("noise") or ()),
            metrics=_figures_from_json(stored["metrics"], ok=ok),
            drift=_figures_from_json(stored["drift"], ok=ok),
            void_pairs=stored.get("void_pairs", 0),
            prompts_sha256=stored.get("prompts_sha256"),
            models_sha256=stored.get("models_sha256") or {},
            examples=tuple(Example(**example) for example in stored.get("examples") or ()),
        )


_FACTS = frozenset(fact.name for fact in fields(Facts))


def _facts(stored: Json) -> Facts:
    return Facts(**{key: value for key, value in stored.items() if key in _FACTS})


def _figures_to_json(figures: Figures) -> dict[str, Json | None]:
    return {key: figure.to_json() if figure else None for key, figure in figures.items()}


def _figures_from_json(stored: Mapping[str, Json | None], *, ok: bool) -> Figures:
    return {key: Figure.from_json(figure) if figure and ok else None for key, figure in stored.items()}
