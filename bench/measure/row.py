"""Measure one variant: its ratios from fresh pairs of processes, everything else in the first pair.

In the first pair the turns come first, while both processes have the same history. Then the variant runs
alone (latency, memory, energy). The profiler and drift come last, and nothing is timed after them: the
profiler stays attached to the process, and drift leaves it with a different heap from a fresh one. Further
pairs only run in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.config.spec import Group
from bench.config.support import device_here
from bench.errors import VariantFailed
from bench.machine import noise
from bench.machine.noise import Ticks
from bench.measure import designs, independence, passes, suites, token_drift
from bench.measure.apart_pair import ApartPair
from bench.measure.arm import ArmUnderTest, Fetch, open_worker
from bench.measure.bills import made_now
from bench.measure.events import Noted
from bench.measure.fresh_pair import FreshPair
from bench.measure.pairs import Finished, Pairs
from bench.measure.together import BaselineDied
from bench.metrics import cascade_bills
from bench.metrics.cascade_bills import Payer
from bench.records import Facts, Sides, UnitRecord
from bench.stats.pairs import PairRatio, pair_ratio, prior_of


class VariantRun(Pairs):
    """Measures the variant in ``row``; the journal records of ``row`` become one row of the table."""

    def __init__(self, group: Group, row: ArmUnderTest, fetch: Fetch) -> None:
        super().__init__(group, row)
        self.fetch = fetch
        self.in_turns = row.context.duets and group.baseline.workload == row.arm.workload
        self._base_facts: Facts | None = None
        self._apart = self.in_turns and self.context.measure.design == designs.ABBA

    def first(self) -> None:
        """Measure the first pair, and in it everything else of the row.

        If both models together need more memory than the GPU has, their processes run one after the other.
        Raises BaselineDied or VariantFailed.
        """
        try:
            (self._first_apart if self._apart else self._first_pair)()
        except (VariantFailed, BaselineDied) as failed:
            if self._apart or self.units or not self.in_turns or not designs.too_large_together(failed):
                raise
            self._apart = True
            words = f"{self.row.title} and its baseline do not fit the GPU together: they run one by one"
            self.context.tell(Noted(words, urgent=True))
            self.row.worker = open_worker(self.row.arm, self.group.label, self.context).worker
            self._first_apart()

    def take_up(self, row: Finished, baseline: Finished) -> None:
        """Go on from the pairs of an earlier attempt, in its design."""
        super().take_up(row, baseline)
        self._base_facts = baseline.facts
        self._apart = any(unit.apart for unit in row.units)

    # ---- pairs -----------------------------------------------------------------------------------

    def _first_pair(self) -> None:
        """Measure the first pair: its turns, then the variant alone, then drift."""
        with self._loaded() as pair:
            self._base_facts = pair.base.facts
            self.say("warm up", *pair.sides)
            pair.warm_up(check=True)
            if self.in_turns:
                self._turns(pair)
            self._alone()
            token_drift.drift(pair.base, self.row)

    @contextmanager
    def _loaded(self) -> Iterator[FreshPair]:
        """Load the first pair in processes that neither calibrate nor train, and yield it. Memory left over
        from calibration or training would count as memory needed for serving. So if the first load did such
        work, both sides start again and load the cached result."""
        with self._pair(self.row) as pair:
            self.say("load", *pair.sides)
            pair.load()
            if not made_now(pair.loaded[1]):
                yield pair
                return
        self.row.worker = open_worker(self.row.arm, self.group.label, self.context).worker
        with self._pair(self.row) as again:
            self.say("load, from what was made", *again.sides)
            again.load(Sides(None, pair.loaded[1]))
            yield again

    def _alone(self) -> None:
        """Run the variant's passes without a partner. The profiler comes after all timed passes, because it
        stays attached, and what is not timed last."""
        passes.alone(self.row)
        passes.profile(self.row)
        token_drift.together(self.row)
        suites.answer(self.row)

    def _first_apart(self) -> None:
        """Measure the first pair whose processes run one after the other, then drift in a pair of its own."""
        pair = ApartPair(self.group, self.row, self.fetch, 1)
        self._apart_unit(pair, self._alone)
        self._base_facts = pair.base.facts
        if reason := token_drift.why_no_drift(pair.base, self.row):
            return self.row.record(drift_reason=reason)
        self.row.worker = open_worker(self.row.arm, self.group.label, self.context).worker
        try:
            with self._pair(self.row) as together:
                self.say("drift, load")
                together.load(Sides(None, pair.loaded))
                return token_drift.drift(together.base, self.row)
        except (VariantFailed, BaselineDied) as failed:
            if not designs.too_large_together(failed):
                raise
            return self.row.record(drift_reason="the model and its baseline do not fit the GPU together")

    def _apart_unit(self, pair: ApartPair, then: Callable[[], None] = lambda: None) -> None:
        self.say(f"pair {pair.number}, one after the other")
        self._keep(pair.measure(self._batches(), then), pair.ticks)

    def further(self) -> None:
        """Measure one more pair, in which the sides only run in turns."""
        variant = open_worker(self.row.arm, self.group.label, self.context)
        variant.reopened = True
        if self._apart:
            self._apart_unit(ApartPair(self.group, variant, self.fetch, len(self.units) + 1))
            return
        with self._pair(variant) as pair:
            self.say(f"pair {pair.number}, load", *pair.sides)
            pair.load()
            pair.warm_up(check=False)
            self._turns(pair)

    def _pair(self, variant: ArmUnderTest) -> FreshPair:
        share = not any(designs.may_not_share(unit.void) for unit in self.units)
        return FreshPair(self.group, variant, self.fetch, len(self.units) + 1, share=share)

    def _turns(self, pair: FreshPair) -> None:
        self.say(f"pair {pair.number}, beside {self.group.baseline.name}")
        unit = pair.turns(self._batches())
        self._keep(unit if self.units else independence.checked(pair, unit), pair.ticks)

    def _batches(self) -> list[int]:
        """Return the batches of the next pair. On a GPU it has more of them: single requests vary there."""
        each = -(-self.row.batches // self.context.measure.processes)
        facts, asked = self.row.facts, self.row.arm.runtime.device
        if facts.on_gpu if facts else device_here(asked) == "cuda":
            each = max(each, designs.LEAST_BATCHES_ON_GPU)
        return designs.batches_of(len(self.valid()) + 1, each, self.row.batches)

    def _keep(self, unit: UnitRecord, ticks: tuple[Ticks, Ticks]) -> None:
        """Write a unit down. It is void if others used the machine meanwhile, whatever its result is."""
        if not unit.void and noise.disturbed(*ticks, self.context.measure.max_disturbance):
            unit = replace(unit, void=f"others had {noise.others(*ticks):.0%} of the processors")
        self.keep(unit)

    def ratio(self, units: list[UnitRecord]) -> PairRatio:
        """Return the ratio of what the table compares over these pairs: of their times, or, of a cascade, of
        the dollars of its two prices to those of the baseline's time."""
        variant, baseline = self._dollars(units) or self._times(units)
        prior = prior_of(
            designs.kernels(self.row.arm, self.row.facts),
            designs.kernels(self.group.baseline, self._base_facts),
            apart=self._apart,
        )
        return pair_ratio(variant, baseline, prior)

    @staticmethod
    def _times(units: Sequence[UnitRecord]) -> tuple[list[float], list[float]]:
        variant = [float(sum(map(sum, unit.variant_ns))) for unit in units]
        return variant, [float(sum(map(sum, unit.baseline_ns))) for unit in units]

    def _dollars(self, units: Sequence[UnitRecord]) -> tuple[list[float], list[float]] | None:
        """Return the dollars of both sides of each pair; None unless the row is a cascade."""
        terms, hour = self.row.cascade, self.context.hour
        if terms is None or hour is None:
            return None
        both = self._base_facts, self.row.facts
        base, variant = (hour(known.threads if known else None) for known in both)
        paid = [cascade_bills.paid(unit, Sides(Payer(base), Payer(variant, terms))) for unit in units]
        return [usd.variant for usd in paid], [usd.baseline for usd in paid]
