"""Measure rows that are servers: a baseline under load by itself, a variant in pairs with its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from bench.config.spec import Group
from bench.errors import Outcome, VariantFailed
from bench.machine import noise
from bench.measure import passes, served_drift, served_suites
from bench.measure.arm import ArmUnderTest, open_worker
from bench.measure.events import Began
from bench.measure.pairs import Pairs
from bench.measure.server_pair import Fetch, ServerPair, reached_by, record_model, server_alone
from bench.measure.units import Comparison, UnitExtras
from bench.metrics import cost, load_blocks
from bench.metrics.requests import Limits
from bench.records import LoadBlock, UnitRecord
from bench.serving.load import run
from bench.stats.pairs import PairRatio

ALONE_BLOCKS = 4


def measure_alone(row: ArmUnderTest, fetch: Fetch) -> None:
    """Put a row's server under load by itself, until four blocks are quiet or eight were measured.

    A block is void if the client was the bottleneck in it. One in which others used the machine counts, with
    its noise beside it, and another one is measured.

    Raises VariantFailed; its outcome is ``invalid`` if the client spoiled every block.
    """
    record_model(row, fetch)
    _say_why_no_drift(row)
    began, seed = monotonic(), row.context.measure.seed
    row.context.tell(Began(row.title, "start"))
    blocks: list[LoadBlock] = []
    with server_alone(row, fetch, seed) as (server, plan):
        row.context.tell(Began(row.title, f"healthy after {monotonic() - began:.0f} s"))
        quiet = 0
        prompts = server.prompts(seed + 1)  # of all blocks: a server may keep those that it has seen
        server.watched()
        if row.arm.is_baseline and server.meter is not None:
            server.meter.idle(passes.IDLE_S)
        while quiet < ALONE_BLOCKS and len(blocks) < 2 * ALONE_BLOCKS:
            row.context.pause()
            row.context.tell(Began(row.title, f"load, block {len(blocks) + 1}"))
            asked = None if plan.searches else run(plan.prompts(len(blocks), prompts))
            block, ticks = server.block(plan, len(blocks), asked, prompts)
            blocks.append(block)
            most = row.context.measure.max_disturbance
            quiet += not block.void and not any(noise.disturbed(*pair, most) for pair in ticks)
            row.record(loads=[block], noise=[block.noise] if block.noise else [])
        server.record_use()
        if row.arm.is_baseline and row.context.compares_outputs:
            served_drift.floor(server, row)
        served_suites.answer(server, row)
    must_be_valid(blocks)


def _say_why_no_drift(row: ArmUnderTest) -> None:
    """Record why a row has no drift. Its first pair overwrites the reason if it does measure drift."""
    if not row.context.compares_outputs:
        row.record(drift_reason=served_drift.NOT_ASKED)
    elif not row.arm.is_baseline:
        row.record(drift_reason=served_drift.ALONE)


def must_be_valid(blocks: list[LoadBlock]) -> None:
    """Raise VariantFailed if the client was the bottleneck in every block."""
    if blocks and all(block.void for block in blocks):
        raise VariantFailed(Outcome.INVALID, f"no valid block of {len(blocks)}: {blocks[-1].void[0]}")


@dataclass(frozen=True)
class ServedComparison(Comparison):
    """Two servers as the sides of a gate: a unit is a pair of new servers under load, in blocks."""

    def measure(self, number: int, extras: UnitExtras) -> UnitRecord:
        """Measure one unit, as ``Comparison`` does. Servers have no counters that could be read."""
        variant = open_worker(self.variant, self.group.label, self.context)
        variant.reopened = not extras.row
        pair = ServerPair(self.group, variant, self.fetch, number, rows=extras.base_row)
        for side in pair.sides if extras.row else ():
            passes.begin(side)
            record_model(side, self.fetch)
        unit = pair.measure()
        for side in pair.sides if extras.files_read else ():
            side.add(reached=reached_by(side))
        for side in pair.sides:
            side.record(status=Outcome.OK, reason="")
        return unit


class ServedRun(Pairs):
    """Measures the variant in ``row``, a server, in pairs with the baseline's server."""

    def __init__(self, group: Group, row: ArmUnderTest, fetch: Fetch) -> None:
        super().__init__(group, row)
        self.fetch = fetch

    def first(self) -> None:
        """Measure the variant's first pair. It runs by itself if its load is another one, or if a gate
        measures the pairs."""
        if not self.context.duets or self.group.baseline.workload != self.row.arm.workload:
            return measure_alone(self.row, self.fetch)
        record_model(self.row, self.fetch)
        _say_why_no_drift(self.row)
        return self.further()

    def further(self) -> None:
        """Measure one more pair of servers."""
        self.say(f"pair {len(self.units) + 1}")
        first = not self.units
        pair = ServerPair(self.group, self.row, self.fetch, len(self.units) + 1, first=first)
        self.keep(pair.measure())

    def must_be_fit(self, quiet: int) -> None:
        """Raise VariantFailed: ``invalid`` if the client spoiled the pairs, ``unfit`` if the machine did."""
        if not quiet and self.units:
            must_be_valid([block for unit in self.units[-1:] if unit.loads for block in unit.loads.variant])
        super().must_be_fit(quiet)

    def ratio(self, units: list[UnitRecord]) -> PairRatio:
        """Return the ratio of the seconds for each token."""
        found = load_blocks.ratio(units, cost.PER_1K, Limits({}))
        if found is None:
            raise ValueError("a server answered no request of its pairs")
        return found
