"""Measure the units of a gate: each is one fresh pair of workers that decode the same requests in turns.

A unit is void if the hypervisor or a quota took too much processor time meanwhile, or if somebody else used
the GPU, or if heat slowed the GPU. The times that were measured never decide that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from bench.config.spec import Arm, Group
from bench.errors import Outcome
from bench.machine import noise
from bench.measure import independence, passes, replies
from bench.measure.arm import ArmUnderTest, RunContext, open_worker
from bench.measure.asked import asked_of
from bench.measure.bills import made_now
from bench.measure.fresh_pair import FreshPair
from bench.measure.replies import Command, Reply
from bench.measure.together import blaming_baseline
from bench.models.reference import LocalModel, ModelRef
from bench.records import Counted, Sides, StepProfile, UnitRecord


@dataclass(frozen=True)
class UnitExtras:
    """What a unit measures and records besides times.

    ``counters`` and ``memory`` (peaks) take one more request each, so they are measured only where they are
    needed. With ``row`` the variant's row is written to the journal (what it is, its evidence and its
    kernels), with ``base_row`` the baseline's too. With ``files_read`` both sides record which files of their
    commits they read. Without ``share`` the sides take turns, whatever they could.
    """

    counters: bool = False
    memory: bool = False
    row: bool = False
    base_row: bool = False
    files_read: bool = False
    share: bool = True


@dataclass(frozen=True)
class Comparison:
    """A baseline and one variant, and how their units are made. Each unit decodes ``batches`` batches, in
    rotation."""

    group: Group
    variant: Arm
    context: RunContext
    fetch: Callable[[ModelRef], LocalModel]
    batches: int

    @property
    def key(self) -> tuple[str, str]:
        """Return (group, variant), as in the records."""
        return self.group.label, self.variant.name

    def measure(self, number: int, extras: UnitExtras) -> UnitRecord:
        """Measure one unit.

        The processes that are timed neither calibrate nor train. If the first ones did, both sides start anew
        and load what was made.

        Raises VariantFailed for the variant, BaselineDied for the baseline.
        """
        began = monotonic()
        pair = self._pair(number, extras)
        for side in pair.sides if extras.row else ():
            passes.begin(side)
        with pair:
            pair.load()
            if not any(map(made_now, pair.loaded)):
                return self._unit(pair, extras, began)
        began, again = monotonic(), self._pair(number, extras)
        with again:
            again.load(Sides(*pair.loaded))
            return self._unit(again, extras, began)

    def _pair(self, number: int, extras: UnitExtras) -> FreshPair:
        variant = open_worker(self.variant, self.group.label, self.context)
        variant.reopened = not extras.row
        return FreshPair(
            self.group,
            variant,
            self.fetch,
            number,
            rows=extras.base_row,
            notes=extras.files_read,
            share=extras.share,
        )

    def _unit(self, pair: FreshPair, extras: UnitExtras, began: float) -> UnitRecord:
        """Time both sides of a pair that is loaded, then look at what else is wanted."""
        asked = asked_of(pair.number, self.batches, self.group.baseline, self.variant)
        pair.warm_up(check=extras.row, first=asked.first)
        unit = replace(pair.turns(asked.timed), asked_again=asked.again)
        if extras.memory:
            unit = replace(unit, peaks=self._each(replies.MEMORY, pair))
        if extras.counters:
            unit = replace(unit, counters=self._count(pair))
        pair.record_reached()
        unit = independence.checked(pair, unit, asked.first) if extras.files_read else unit
        for side, profile in zip(pair.sides, self._profiles(pair) if extras.row else (), strict=False):
            side.record(profile=profile)
        for side in pair.sides:
            side.record(status=Outcome.OK, reason="")
        stolen = noise.STOLEN if noise.stolen(*pair.ticks) else ""
        return replace(unit, void=unit.void or stolen, took_s=round(monotonic() - began, 3))

    def _each(self, command: Command[Reply], pair: FreshPair) -> Sides[Reply]:
        """Run one untimed command on both sides, one after the other."""
        with blaming_baseline():
            base = self._ask(command, pair.base)
        return Sides(base, self._ask(command, pair.variant))

    def _profiles(self, pair: FreshPair) -> tuple[StepProfile, StepProfile]:
        """Profile one side after the other, when nothing is left to be timed in these processes."""
        profiles = self._each(replies.PROFILE, pair)
        return profiles.baseline, profiles.variant

    def _ask(self, command: Command[Reply], side: ArmUnderTest) -> Reply:
        result = side.worker.ask(command.do, self.context.measure.timeout_s)
        return replies.read(command, result, side.asked)

    def _count(self, pair: FreshPair) -> Sides[Counted]:
        """Count the work of both sides, and write the counters to the records of both arms too."""
        counted = self._each(replies.COUNT, pair)
        for side, counters in ((pair.base, counted.baseline), (pair.variant, counted.variant)):
            side.add(counters=counters)
        return counted
