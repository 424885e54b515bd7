"""Measure one variant: its ratios from fresh pairs of processes, everything else in the first pair.

In the first pair the turns come first, while both processes have the same history. Then the variant runs
alone (latency, memory, energy). Drift comes last: it leaves the process with a different heap from a fresh
one, so nothing is timed after it. Pairs are added until the interval of the cost ratio is narrow enough. Only
the width of the interval decides that, never its position.
"""

from __future__ import annotations

from dataclasses import replace

from bench.config.spec import Arm, Group
from bench.machine import noise
from bench.measure import arm as one
from bench.measure import pair as beside
from bench.measure.arm import ArmUnderTest, open_worker
from bench.measure.fresh_pair import Fetch, FreshPair, batches_of
from bench.measure.pairs import Pairs
from bench.records import Facts, Loaded, UnitRecord
from bench.stats.pairs import Kernels, PairRatio, pair_ratio, prior_of


class VariantRun(Pairs):
    """Measures the variant in ``row``; the journal records of ``row`` become one row of the table."""

    def __init__(self, group: Group, row: ArmUnderTest, fetch: Fetch) -> None:
        super().__init__(group, row)
        self.fetch = fetch
        self.in_turns = row.context.duets and group.baseline.workload == row.arm.workload
        self._base_facts: Facts | None = None

    def run(self) -> None:
        """Measure the variant. Raises BaselineDied or VariantFailed; VariantFailed has the outcome ``unfit``
        if the machine was too busy to give enough valid pairs."""
        self._first_pair()
        while self.in_turns and not self.enough():
            self._further_pair()

    # ---- pairs -----------------------------------------------------------------------------------

    def _first_pair(self) -> None:
        """Measure the first pair, in processes that neither calibrate nor train. Memory left over from
        calibration or training would count as memory needed for serving. So if the first load did such work,
        both sides start again and load the cached result."""
        with self._pair(self.row) as pair:
            self.say("load")
            pair.load()
            if not _made_now(pair.loaded[1]):
                return self._whole(pair)
        self.row.worker = open_worker(self.row.arm, self.group.label, self.context).worker
        with self._pair(self.row) as again:
            self.say("load, from what was made")
            again.load(spent=pair.loaded[1])
            return self._whole(again)

    def _whole(self, pair: FreshPair) -> None:
        """Run the turns, then the variant alone, then drift."""
        self._base_facts = pair.base.facts
        self.say("warm up")
        pair.warm_up(profile=True)
        if self.in_turns:
            self._turns(pair)
        one.alone(self.row)
        beside.drift(pair.base, self.row)

    def _further_pair(self) -> None:
        variant = open_worker(self.row.arm, self.group.label, self.context)
        variant.reopened = True
        with self._pair(variant) as pair:
            self.say(f"pair {pair.number}, load")
            pair.load()
            pair.warm_up(profile=False)
            self._turns(pair)

    def _pair(self, variant: ArmUnderTest) -> FreshPair:
        return FreshPair(self.group, variant, self.fetch, len(self.units) + 1)

    def _turns(self, pair: FreshPair) -> None:
        """Measure one unit. It is void if others used the machine meanwhile, whatever its result is."""
        self.say(f"pair {pair.number}, in turns with {self.group.baseline.name}")
        each = -(-self.row.batches // self.context.measure.processes)
        quiet = len(self.valid())
        unit = pair.turns(batches_of(quiet + 1, each, self.row.batches))
        if noise.disturbed(*pair.ticks, self.context.measure.max_disturbance):
            unit = replace(unit, void=f"others had {noise.others(*pair.ticks):.0%} of the processors")
        self.keep(unit)

    def ratio(self, units: list[UnitRecord]) -> PairRatio:
        """Return the ratio of the times of these pairs."""
        ours = [sum(map(sum, unit.variant_ns)) for unit in units]
        theirs = [sum(map(sum, unit.baseline_ns)) for unit in units]
        prior = prior_of(
            _kernels(self.row.arm, self.row.facts), _kernels(self.group.baseline, self._base_facts)
        )
        return pair_ratio(ours, theirs, prior)


def _kernels(arm: Arm, facts: Facts | None) -> Kernels:
    packed_by = facts.quantised_checkpoint if facts else None
    return Kernels(arm.runtime, packed_by, [step.label for step in arm.optimise])


def _made_now(loaded: Loaded) -> bool:
    """Say whether this load did one-off work itself, such as calibration, instead of reusing the result."""
    return any(not bill["reused"] for bill in loaded.one_off_bills())
