"""A baseline and a variant of one run whose workers' answers are data, and a text of 100 tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from desk import FACTS, WORKLOAD, Answer, Notebook
from fakes import ScriptedWorker

from bench.config.settings import DriftBlock, MeasureBlock, RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm
from bench.measure.arm import ArmUnderTest, RunContext
from bench.measure.events import Event
from bench.models.reference import Named


class Table:
    """A baseline and a variant of one run."""

    def __init__(
        self, base: Answer, variant: Answer, facts: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        self.notes = Notebook()
        self.told: list[Event] = []
        measure = MeasureBlock(**settings.pop("measure", {}))
        drift = DriftBlock(**{"tokens": 64, "window": 16, **settings.pop("drift", {})})
        context = RunContext(
            Path(), self.notes, self.told.append, lambda: None, measure, drift, "text"  # type: ignore[arg-type]
        )  # fmt: skip
        self.base, self.variant = (
            ArmUnderTest(self.arm(name, **settings), "", context, ScriptedWorker(answer))  # type: ignore[arg-type]
            for name, answer in (("baseline", base), ("variant", variant))
        )
        self.base.facts = self.variant.facts = replace(FACTS, **(facts or {}))

    @staticmethod
    def arm(name: str, workloads: Mapping[str, WorkloadBlock] | None = None) -> Arm:
        workload = (workloads or {}).get(name, WORKLOAD)
        return Arm(name, name == "baseline", Named("m"), RuntimeBlock(), workload, ())


def scores(do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A text of 100 tokens, and statistics for each of its windows."""
    if do == "corpus":
        return {"tokens": 100, "digest": "d"}
    assert do in ("score", "floor")
    one = {"kld": [0.5] * 15, "same_top": [1] * 15, "ln_p_base": [-1.0] * 15, "ln_p_variant": [-2.0] * 15}
    return {"windows": [one] * len(arguments["starts"])}
