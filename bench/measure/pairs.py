"""Measure pairs of one row until it has enough: its interval is narrow, there are as many as allowed, or many
are void."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.config.spec import Group
from bench.errors import Outcome, VariantFailed
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.records import Facts, Json, UnitRecord
from bench.stats.pairs import LEAST_PAIRS, PairRatio


@dataclass(frozen=True)
class Finished:
    """A row that an earlier attempt at the run has finished: its pairs, how it ended, a cascade's terms."""

    facts: Facts | None = None
    units: Sequence[UnitRecord] = ()
    cascade: Json | None = None
    outcome: Outcome = Outcome.OK
    reason: str = ""


class Pairs(ABC):
    """The pairs of the variant in ``row`` with the baseline of ``group``."""

    def __init__(self, group: Group, row: ArmUnderTest) -> None:
        self.group, self.row, self.context = group, row, row.context
        self.units: list[UnitRecord] = []

    @abstractmethod
    def first(self) -> None:
        """Measure the row's first pair, and all figures that do not come from pairs. Raises BaselineDied or
        VariantFailed."""

    @abstractmethod
    def ratio(self, units: list[UnitRecord]) -> PairRatio:
        """Return the cost ratio over these pairs."""

    @abstractmethod
    def further(self) -> None:
        """Measure one more pair and keep it."""

    def take_up(self, row: Finished, baseline: Finished) -> None:
        """Go on from the pairs that an earlier attempt has measured."""
        self.row.facts, self.row.cascade, self.units = row.facts, row.cascade, [*row.units]

    def keep(self, unit: UnitRecord) -> None:
        """Add a pair, and write it to the journal."""
        self.units.append(unit)
        self.context.journal.append("unit", asdict(unit))
        self.context.journal.sync()

    def valid(self) -> list[UnitRecord]:
        """Return the pairs that count."""
        return [unit for unit in self.units if not unit.void]

    def enough(self) -> bool:
        """Say whether the row needs no more pairs: its interval is narrow, it has as many as allowed, or too
        many of them are void. Measuring stops once there are more void pairs than ``measure.processes``, so a
        busy machine adds about one round at most. Raises VariantFailed of the outcome ``unfit`` if so few
        pairs are left that they show nothing."""
        settings, quiet = self.context.measure, len(self.valid())
        if len(self.units) - quiet > settings.processes:
            self.must_be_fit(quiet)
            return True
        if quiet < settings.processes:
            return False
        most = settings.processes * settings.max_rounds
        return quiet >= most or half_width(self.ratio(self.valid())) <= settings.max_half_width

    def must_be_fit(self, quiet: int) -> None:
        """Raise VariantFailed if the ``quiet`` pairs, which are not void, are too few to show anything."""
        if quiet >= min(LEAST_PAIRS, self.context.measure.processes):
            return
        raise VariantFailed(
            Outcome.UNFIT,
            f"the machine was too busy: {len(self.units) - quiet} of {len(self.units)} pairs are void "
            f"({self.units[-1].void}); end other programs, or accept more by measure.max_disturbance",
        )

    def say(self, what: str, *sides: ArmUnderTest) -> None:
        """Stop here if Ctrl-C was pressed, and tell the listener what comes next. Messages that the workers
        of ``sides`` send meanwhile are passed on to it."""
        self.context.pause()
        self.context.tell(Began(self.row.title, what))
        for side in sides:
            who = f"{what}, {side.arm.name}"
            side.worker.on_progress = lambda text, who=who: self.context.tell(  # type: ignore[misc]
                Began(self.row.title, f"{who}: {text}")
            )


def half_width(ratio: PairRatio) -> float:
    """Return half the width of the 95 % interval of a ratio, divided by the ratio."""
    return (ratio.high - ratio.low) / 2 / ratio.value
