"""Measure one variant: its ratios from fresh pairs of processes, everything else in the first pair.

In the first pair the turns come first, while both processes have the same history. Then the variant runs
alone (latency, memory, energy). Drift comes last: it leaves the process with a different heap from a fresh
one, so nothing is timed after it. Pairs are added until the interval of the cost ratio is narrow enough. Only
the width of the interval decides that, never its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from bench.config.spec import Arm, Group
from bench.errors import Outcome, VariantFailed
from bench.machine import noise
from bench.measure import arm as one
from bench.measure import pair as beside
from bench.measure.arm import ArmUnderTest, open_worker
from bench.measure.events import Began
from bench.measure.fresh_pair import Fetch, FreshPair, batches_of
from bench.records import Facts, Loaded, UnitRecord
from bench.stats.pairs import LEAST_PAIRS, Kernels, Prior, pair_ratio, prior_of


class VariantRun:
    """Measures the variant in ``row``; the journal records of ``row`` become one row of the table."""

    def __init__(self, group: Group, row: ArmUnderTest, fetch: Fetch) -> None:
        self.group, self.row, self.context, self.fetch = group, row, row.context, fetch
        self.in_turns = row.context.duets and group.baseline.workload == row.arm.workload
        self.units: list[UnitRecord] = []
        self._base_facts: Facts | None = None

    def run(self) -> None:
        """Measure the variant. Raises BaselineDied or VariantFailed; VariantFailed has the outcome ``unfit``
        if the machine was too busy to give enough valid pairs."""
        self._first_pair()
        while self.in_turns and not self._enough():
            self._further_pair()

    # ---- pairs -----------------------------------------------------------------------------------

    def _first_pair(self) -> None:
        """Measure the first pair, in processes that neither calibrate nor train. Memory left over from
        calibration or training would count as memory needed for serving. So if the first load did such work,
        both sides start again and load the cached result."""
        with self._pair(self.row) as pair:
            self._say("load")
            pair.load()
            if not _made_now(pair.loaded[1]):
                return self._whole(pair)
        self.row.worker = open_worker(self.row.arm, self.group.label, self.context).worker
        with self._pair(self.row) as again:
            self._say("load, from what was made")
            again.load(spent=pair.loaded[1])
            return self._whole(again)

    def _whole(self, pair: FreshPair) -> None:
        """Run the turns, then the variant alone, then drift."""
        self._base_facts = pair.base.facts
        self._say("warm up")
        pair.warm_up(profile=True)
        if self.in_turns:
            self._turns(pair)
        one.alone(self.row)
        beside.drift(pair.base, self.row)

    def _further_pair(self) -> None:
        variant = open_worker(self.row.arm, self.group.label, self.context)
        variant.reopened = True
        with self._pair(variant) as pair:
            self._say(f"pair {pair.number}, load")
            pair.load()
            pair.warm_up(profile=False)
            self._turns(pair)

    def _pair(self, variant: ArmUnderTest) -> FreshPair:
        return FreshPair(self.group, variant, self.fetch, len(self.units) + 1)

    def _turns(self, pair: FreshPair) -> None:
        """Measure one unit. It is void if others used the machine meanwhile, whatever its result is."""
        self._say(f"pair {pair.number}, in turns with {self.group.baseline.name}")
        each = -(-self.row.batches // self.context.measure.processes)
        quiet = len(self._valid())
        unit = pair.turns(batches_of(quiet + 1, each, self.row.batches))
        if not unit.void and noise.disturbed(*pair.ticks, self.context.measure.max_disturbance):
            unit = replace(unit, void=f"others had {noise.others(*pair.ticks):.0%} of the processors")
        self.units.append(unit)
        self.context.journal.append("unit", asdict(unit))
        self.context.journal.sync()

    # ---- when to stop ----------------------------------------------------------------------------

    def _valid(self) -> list[UnitRecord]:
        return [unit for unit in self.units if not unit.void]

    def _enough(self) -> bool:
        """Say whether to stop: the interval is narrow enough, the limit is reached, or too many pairs are
        void. Measuring stops once there are more void pairs than ``measure.processes``, so a busy machine
        adds about one round at most."""
        settings, quiet = self.context.measure, len(self._valid())
        if len(self.units) - quiet > settings.processes:
            self._must_be_fit(quiet)
            return True
        if quiet < settings.processes:
            return False
        most = settings.processes * settings.max_rounds
        return quiet >= most or half_width(self._valid(), self._prior()) <= settings.max_half_width

    def _prior(self) -> Prior:
        return prior_of(
            _kernels(self.row.arm, self.row.facts), _kernels(self.group.baseline, self._base_facts)
        )

    def _must_be_fit(self, quiet: int) -> None:
        if quiet >= min(LEAST_PAIRS, self.context.measure.processes):
            return
        raise VariantFailed(
            Outcome.UNFIT,
            f"the machine was too busy: {len(self.units) - quiet} of {len(self.units)} pairs are void "
            f"({self.units[-1].void}); end other programs, or accept more by measure.max_disturbance",
        )

    def _say(self, what: str) -> None:
        self.context.pause()
        self.context.tell(Began(self.row.title, what))


def _kernels(arm: Arm, facts: Facts | None) -> Kernels:
    packed_by = facts.quantised_checkpoint if facts else None
    return Kernels(arm.runtime, packed_by, [step.label for step in arm.optimise])


def half_width(units: Sequence[UnitRecord], prior: Prior) -> float:
    """Return half the width of the 95 % interval of the cost ratio over these pairs, divided by the ratio."""
    ours = [sum(map(sum, unit.variant_ns)) for unit in units]
    theirs = [sum(map(sum, unit.baseline_ns)) for unit in units]
    found = pair_ratio(ours, theirs, prior)
    return (found.high - found.low) / 2 / found.value


def _made_now(loaded: Loaded) -> bool:
    """Say whether this load did one-off work itself, such as calibration, instead of reusing the result."""
    return any(not bill["reused"] for bill in loaded.one_off_bills())
