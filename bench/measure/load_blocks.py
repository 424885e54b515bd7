"""Warm up the server of a row, and put it under load one block after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from bench import plugins
from bench.config.amounts import MOST_OF_A_BLOCK
from bench.config.served import on_gpu
from bench.config.settings import WorkloadBlock
from bench.errors import BenchError, IntegrityError, InterruptedRun, JournalFailed, Outcome, VariantFailed
from bench.machine import noise
from bench.machine.noise import Ticks
from bench.measure.arm import ArmUnderTest
from bench.measure.served_use import ELSEWHERE, Meter
from bench.metrics.requests import Limits
from bench.records import Json, LoadBlock
from bench.serving.arrivals import Lengths, Planned
from bench.serving.load import INTERRUPTED, Load, load, run
from bench.serving.own_places import without_places
from bench.serving.pinning import SHARED, Apart
from bench.serving.prompts import Count, Prompts
from bench.serving.reply import Asked
from bench.serving.search_run import searched
from bench.serving.target import Target


@dataclass(frozen=True)
class Plan:
    """The load of a row. It gives the requests of each block by the block's number, or those of each attempt
    if a block is a search."""

    workload: WorkloadBlock
    limits: Limits
    seed: int

    @property
    def kind(self) -> Any:
        """Return the plug-in of the workload."""
        return plugins.load("workloads", self.workload.name)

    @property
    def searches(self) -> bool:
        """Return whether a block is a search for the highest rate."""
        return hasattr(self.kind, "plan_at")

    def of(self, block: int) -> Planned:
        """Return the schedule of a block, which says when each request is sent."""
        planned: Planned = self.kind.plan(self.workload, self.seed + block)
        return planned

    async def prompts(self, block: int, prompts: Prompts) -> list[Asked]:
        """Make the prompts of a block."""
        planned = self.of(block)
        return await prompts.of(planned.lengths, planned.sharing, planned.spoken)

    def first(self) -> Lengths:
        """Return the lengths of the requests that warm a server up."""
        lengths: Lengths = self.kind.plan_at(self.workload, 1.0, 1, 0).lengths if self.searches else ()
        return (lengths or self.of(0).lengths[:1]) * self.workload.warmup


@dataclass
class Serving:
    """A running server, the row that it belongs to, and how it shares the processors with the client."""

    row: ArmUnderTest
    target: Target
    count: Count | None = field(repr=False, default=None)
    meter: Meter | None = field(repr=False, default=None)
    cores: Apart = SHARED
    steps: Json = field(default_factory=dict)

    @property
    def pids(self) -> list[int]:
        """Return the processes of a server that was started here."""
        return [] if self.target.server is None else self.target.server.pids()

    @property
    def head(self) -> Json:
        """Return the record of the server for the journal: how it was started and how it is asked."""
        how = self.target.settings
        said = {"api": how.api, "timeout_s": how.timeout_s, "retries": how.retries}
        said["served_as"] = without_places(how.model)
        tokens_by = "its tokenizer" if self.count else "words"
        steps = {"steps": self.steps} if self.steps else {}
        return {**self.target.head, **said, "tokens_by": tokens_by, **self.cores.said(), **steps}

    def watched(self) -> None:
        """Measure the server's memory and energy from now on, if it was started here."""
        if self.target.server is not None:
            self.meter = Meter(self.target.server, on_gpu=on_gpu(self.row.arm.runtime))

    def record_use(self) -> None:
        """Record the memory and the energy of the server over its blocks."""
        if self.meter is None:
            return self.row.record(energy=ELSEWHERE)
        return self.row.record(memory=self.meter.memory(), energy=self.meter.energy())

    def prompts(self, seed: int) -> Prompts:
        """Return a source of prompts whose lengths are counted in the tokens of this server."""
        return Prompts(seed, self.count)

    def warm_up(self, prompts: Sequence[Asked]) -> None:
        """Send requests that do not count. Raises VariantFailed if one fails."""
        with failing_as(Outcome.RUN_ERROR):
            run(self.target.warm_up(list(prompts)))

    def block(
        self, plan: Plan, number: int, asked: Sequence[Asked] | None, prompts: Prompts
    ) -> tuple[LoadBlock, list[tuple[Ticks, Ticks]]]:
        """Put the server under load once. ``asked`` are the prompts; they are None for a search.

        Return the block, with the processor time before and after it if the server was started here. For any
        other server nobody knows which processor time is its own. Raises VariantFailed if the server died, or
        if no request got a whole reply.
        """
        before = noise.read_ticks(self.pids)
        search = None
        watching = self.meter.watching() if self.meter else nullcontext()
        with failing_as(Outcome.RUN_ERROR), watching, self.cores.sending():
            if asked is None:
                highest = run(self._search(plan, number, prompts))
                done, search, sent = highest.load, highest.to_json(), highest.tried
                title = f"search from {dict(plan.workload.own)['rate']} requests/s"
            else:
                planned = plan.of(number)
                title = planned.schedule.title
                done = run(load(self.target.settings, planned.schedule, asked, None, self.target.gone))
                sent = done.samples
        after = noise.read_ticks(self.pids)
        self._must_have_served(done)
        self._record_steps()
        ticks = [(before, after)] if self.target.server else []
        between = noise.between("load", before, after) if ticks else {}
        if self.meter:
            others = noise.disturbed(before, after, self.row.context.measure.max_disturbance)
            self.meter.served(sent, disturbed=others)  # of a search, those of all its loads
        return LoadBlock(title, done.samples, done.client, done.stopped, search, between), ticks

    def _record_steps(self) -> None:
        """Record how many sequences an engine in process had in its steps until now.

        Raises VariantFailed if it still has a request that nobody waits for.
        """
        if not self.target.settings.server.in_process:
            return
        with failing_as(Outcome.RUN_ERROR):
            self.steps = run(self.target.steps())
        self.row.record(server=self.head)
        if left := self.steps["not_ended"]:
            raise VariantFailed(Outcome.RUN_ERROR, f"the engine still has {left} requests after the load")

    async def _search(self, plan: Plan, number: int, prompts: Prompts) -> Any:
        own = dict(plan.workload.own)

        def at(rate: float, requests: int, attempt: int) -> Planned:
            seed = plan.seed + (number << 8) + attempt
            planned: Planned = plan.kind.plan_at(plan.workload, rate, requests, seed)
            return planned

        share, start = float(str(own["share"])), float(str(own["rate"]))
        most = MOST_OF_A_BLOCK
        return await searched(self.target, at, plan.limits, share, start, prompts, most_requests=most)

    def _must_have_served(self, done: Load) -> None:
        if done.stopped == INTERRUPTED:
            raise KeyboardInterrupt
        if gone := self.target.gone():
            raise VariantFailed(Outcome.RUN_ERROR, gone)
        if not any(sample.ok for sample in done.samples):
            first = done.samples[0].reason if done.samples else "none was sent"
            raise VariantFailed(Outcome.RUN_ERROR, f"no request got a whole reply: {first}")


@contextmanager
def failing_as(outcome: Outcome) -> Iterator[None]:
    """Turn a BenchError inside into the failure of a row."""
    try:
        yield
    except (VariantFailed, IntegrityError, JournalFailed):
        raise
    except BaseExceptionGroup as several:  # a signal that came while a request was being sent
        ended = several.subgroup((InterruptedRun, KeyboardInterrupt))
        raise (ended or several).exceptions[0] from None
    except BenchError as bad:
        raise VariantFailed(outcome, str(bad)) from None
