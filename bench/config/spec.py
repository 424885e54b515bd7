"""Define an expanded and checked config: its cells, their rows, what is done to each model. All frozen.

``bench/config/reader.py`` makes them from YAML, whose blocks are in ``bench/config/settings.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from bench.config.settings import (
    BuildBlock,
    DriftBlock,
    LimitBlock,
    MeasureBlock,
    PriceBlock,
    RuntimeBlock,
    SloBlock,
    WorkloadBlock,
)
from bench.config.writer import write_yaml
from bench.models.reference import Hub, LocalPath, ModelRef
from bench.records.json_form import Json
from bench.store.files import digest

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is some twenty times faster
# Blocks that say how rows are judged, and not what is measured.
JUDGED_BY = ("price", "slo", "energy", "drift", "measure", "gate")


@dataclass(frozen=True)
class Optimisation:
    """One step of ``optimise``: the verb and the name of a scheme, and its validated settings."""

    verb: str
    scheme: str
    params: tuple[tuple[str, object], ...] = ()

    @property
    def label(self) -> str:
        """Return the step as a person would write it."""
        inner = ", ".join(f"{key}={value}" for key, value in self.params)
        return f"{self.verb} {self.scheme}" + (f" ({inner})" if inner else "")


@dataclass(frozen=True)
class Place:
    """Where an arm's worker runs, if not here: its directory, and the roots of its commit's files by name.

    The worker notes which files below the roots it reads, so that a gate knows what of a change it measured.
    The manifest lists the files of the commit, which are restored before each worker starts. ``models`` are
    the directories of its model files, in search order.
    """

    directory: str | None = None
    roots: tuple[tuple[str, str], ...] = ()
    manifest: str | None = None
    models: tuple[Path, ...] = ()

    def model(self, model: ModelRef) -> ModelRef:
        """Return a model as it is found from here: a relative path below the directory, a name among the
        model files."""
        if isinstance(model, LocalPath):
            return LocalPath(Path(self.directory or "") / model.path)
        return model if isinstance(model, Hub) else replace(model, within=self.models)


@dataclass(frozen=True)
class Arm:
    """One row of the table: a model, an engine, a workload, and the optimisations done to the model."""

    name: str
    is_baseline: bool
    model: ModelRef
    runtime: RuntimeBlock
    workload: WorkloadBlock
    optimise: tuple[Optimisation, ...]
    unsupported: str | None = None
    place: Place = Place()


@dataclass(frozen=True)
class Group:
    """A baseline and its variants: one cell of a sweep. It is never split over machines (D10)."""

    label: str
    baseline: Arm
    variants: tuple[Arm, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Return the baseline, then the variants."""
        return (self.baseline, *self.variants)


@dataclass(frozen=True)
class Spec:
    """A whole config, expanded and checked."""

    name: str
    file: str
    groups: tuple[Group, ...]
    price: PriceBlock
    drift: DriftBlock
    measure: MeasureBlock
    gate: tuple[tuple[str, LimitBlock], ...]
    build: BuildBlock
    slo: SloBlock | None
    expanded: str
    digest: str

    @cached_property
    def content(self) -> Json:
        """Return ``expanded`` as data, which nobody may change."""
        found: dict[str, Any] = yaml.load(self.expanded, Loader=_LOADER)  # a safe one
        return found

    def judged_as(self, other: Spec) -> Spec:
        """Return this config with the blocks of another one by which rows are judged: price, limits of a good
        request, energy, drift, measuring, and its limits if it has any.

        In a gate on commits a branch must not choose them for itself. What the run keeps as its config says
        the same, because figures are computed by it.
        """
        keys = JUDGED_BY if other.gate else JUDGED_BY[:-1]
        full = {key: one for key, one in self.content.items() if key not in keys}
        full |= {key: other.content[key] for key in keys if key in other.content}
        return replace(
            self, price=other.price, slo=other.slo, drift=other.drift, measure=other.measure,
            gate=other.gate or self.gate, digest=digest(full),
            expanded=write_yaml(full),
        )  # fmt: skip
