"""Hold what every pass of a run is given: where results go, who is told, the settings, and the price."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.config.settings import DriftBlock, MeasureBlock
from bench.measure.events import Tell
from bench.pricing.cost import Price
from bench.store.journal import Journal


@dataclass(frozen=True)
class RunContext:
    """What every pass needs: the place for results, the journal, the listener and the settings. If ``duets``
    is false, no ratios are measured here: the units of the gate measure them. ``slo`` has the limits of a
    good request, in ms by their name in the config. ``hour`` returns the price of an hour of the machine on
    so many threads (None: on all of it); without it nothing is priced while it is measured."""

    directory: Path
    journal: Journal
    tell: Tell
    pause: Callable[[], None]
    measure: MeasureBlock
    drift: DriftBlock
    text: str
    duets: bool = True
    slo: Mapping[str, float] = field(default_factory=dict)
    hour: Callable[[int | None], Price] | None = None

    @property
    def compares_outputs(self) -> bool:
        """Return whether the outputs of rows are compared with the baseline's."""
        return bool(self.drift.tokens) and self.duets
