"""A baseline and a variant in two freshly started processes: the sample of `run` and of `gate`.

A random draw decides which worker starts first. Both load at the same time on two processors, warm up with
the same number of requests, and then decode the same requests in turns. They warm up at the same time only if
there is a processor for each of their threads. Up to the turns both sides do the same things, and both
processes end with the pair, so nothing carries over to the next pair.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import Any

from bench import plugins
from bench.config.spec import Arm, Group
from bench.machine import noise
from bench.measure import arm as one
from bench.measure import designs, passes, replies
from bench.measure.arm import ArmUnderTest, Fetch, open_worker
from bench.measure.models import record_models
from bench.measure.pair_processors import pinned
from bench.measure.reading import record_reading
from bench.measure.replies import Command, Reply
from bench.measure.together import ask_both, ask_each, ask_in_order, blaming_baseline
from bench.records import ColdStart, Json, Loaded, Sides, TurnTimes, UnitRecord


class FreshPair:
    """A context manager around the two workers of pair ``number``; random draws use the config's seed. With
    ``notes`` both sides note which files of their commits they read."""

    def __init__(
        self, group: Group, variant: ArmUnderTest, fetch: Fetch, number: int, *,
        rows: bool = False, notes: bool = False,
    ) -> None:  # fmt: skip
        self._context, self._fetch, self._notes = variant.context, fetch, notes
        self.group, self.number, self.variant = group, number, variant
        self.base = open_worker(group.baseline, group.label, variant.context)
        self.base.reopened = not rows
        self.rng = random.Random(f"{self._context.measure.seed}/{group.label}/{variant.arm.name}/{number}")
        self.spawned_first = self.rng.randrange(2)
        self._workers = ExitStack()
        self._began = monotonic()
        self._lengths: dict[str, tuple[int, ...]] = {}

    def __enter__(self) -> FreshPair:
        try:
            for under in self.sides:
                one.tidy(under)
            for under in (self.base, self.variant) if self.spawned_first == 0 else (self.variant, self.base):
                with blaming_baseline() if under is self.base else nullcontext():
                    self._workers.enter_context(under.worker)
        except BaseException:
            self._workers.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    @property
    def sides(self) -> tuple[ArmUnderTest, ArmUnderTest]:
        """Return both arms, the baseline first."""
        return self.base, self.variant

    def ask_each(
        self,
        command: Command[Reply],
        ours: Mapping[str, object],
        theirs: Mapping[str, object],
        *,
        together: bool = True,
    ) -> tuple[Reply, Reply]:
        """Run the same untimed command on both sides and check each reply. They run it at the same time, or,
        if not ``together``, first the side that started first and then the other one."""
        workers, limit_s = (self.base.worker, self.variant.worker), self._context.measure.timeout_s
        if together:
            found = ask_each(command.do, *workers, limit_s, ours, theirs)
        else:
            found = ask_in_order(command.do, *workers, limit_s, ours, theirs, self.spawned_first)
        with blaming_baseline():
            base = replies.read(command, found[0], self.base.asked)
        return base, replies.read(command, found[1], self.variant.asked)

    def _fit_together(self) -> bool:
        """Say whether there is a processor for each thread of both sides; a GPU is fed by one thread."""
        threads = (1 if under.known.on_gpu else under.known.threads or 1 for under in self.sides)
        return sum(threads) <= len(os.sched_getaffinity(0))

    def load(self, spent: Loaded | None = None) -> None:
        """Load and optimise both models, and check the evidence. ``spent`` is the reply to an earlier load of
        the same row: its costs of calibration and training are then recorded for this load."""
        models = [self._fetch(under.arm.model) for under in self.sides]
        for under, model in zip(self.sides, models, strict=True):
            record_models(under, model, self._fetch)
        loads = [
            {
                **one.load_arguments(under.arm, model, models[0], self._fetch),
                "roots": self._roots(under),
                "step_by_step": not all(side.reopened for side in self.sides),
            }
            for under, model in zip(self.sides, models, strict=True)
        ]
        base, variant = self.ask_each(replies.LOAD, *loads)
        if spent is not None:
            variant = replace(variant, evidence=with_bills_of(spent, variant))
        self.loaded = base, variant
        for under, found in zip(self.sides, self.loaded, strict=True):
            under.loaded_with(found)

    def _roots(self, under: ArmUnderTest) -> dict[str, str]:
        """Return the directories in which a side notes what it reads."""
        return dict(under.arm.place.roots) if self._notes else {}

    def record_reached(self) -> None:
        """Write which files of its own commit each side has read, if the sides are of commits."""
        roots = [self._roots(under) for under in self.sides]
        if any(roots):
            record_reading(self.sides, roots, lambda command: self.ask_each(command, {}, {}))

    def warm_up(self, *, check: bool) -> None:
        """Hand over the prompts and decode the first request as often as the workload says, on both sides.
        With ``check`` both also see whether their logits are numbers."""
        prompts = [one.prompt_arguments(under.arm, prompts_of(under.arm)) for under in self.sides]
        encoded = self.ask_each(replies.PROMPTS, *prompts)
        for under, found in zip(self.sides, encoded, strict=True):
            passes.check_fits_context(under, max(found.input_tokens))
            self._lengths[under.arm.name] = found.input_tokens
            under.record(prompts_digest=found.digest, end_ids=found.end_ids)
        fixed = [
            {"least": under.arm.workload.warmup, "most": under.arm.workload.warmup, "finite": check}
            for under in self.sides
        ]
        self.warm = self.ask_each(replies.WARM_UP, *fixed, together=self._fit_together())
        for under, warm in zip(self.sides, self.warm, strict=True):
            under.record(warm_up=warm)

    def turns(self, batches: Sequence[int]) -> UnitRecord:
        """Decode ``batches`` in turns and return the times: token by token on a CPU, batch by batch on a GPU
        (see ``designs``). If the sides have different workloads (a gate on commits), whole batches take turns
        too, as many on each side.

        The unit is void if the driver says that others used the GPU, or that heat slowed it. The caller
        decides whether it is void otherwise, and uses only ``ticks`` for that: the processor time before and
        after the turns.
        """
        counts = [under.turns for under in self.sides]
        firsts = [[self.rng.randrange(2) for _ in range(max(counts))] for _ in batches]
        design, how = self._manner(batches, counts)
        pids = [under.worker.pid for under in self.sides]
        watch, before = one.watch_of(*self.sides), noise.read_ticks(pids)
        with pinned(self.base, self.variant, swapped=self.spawned_first == 1):
            ours, theirs = ask_both(
                "duet", self.base.worker, self.variant.worker, self._context.measure.timeout_s,
                batches=[n % self.base.batches for n in batches], firsts=firsts, **how,
            )  # fmt: skip
        with blaming_baseline():
            base_times = replies.turn_times(ours, len(batches), counts[0])
        variant_times = replies.turn_times(theirs, len(batches), counts[1])
        self.ticks = before, noise.read_ticks(pids)
        seen = one.end_of(watch, *self.sides)
        return UnitRecord(
            number=self.number,
            group=self.group.label,
            variant=self.variant.arm.name,
            batches=tuple(batches),
            spawned_first=self.spawned_first,
            baseline_ns=base_times.durations_ns,
            variant_ns=variant_times.durations_ns,
            cold=self._cold(),
            took_s=round(monotonic() - self._began, 3),
            noise={**noise.between("unit", *self.ticks), **seen.record},
            void=seen.void,
            design=design,
            **self._decoded(batches, base_times, variant_times),
        )

    def _manner(self, batches: Sequence[int], counts: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Return the design, and how the workers are told of it and of workloads that differ."""
        on_gpu = self.base.known.on_gpu or self.variant.known.on_gpu
        design = designs.chosen(self._context.measure.design, on_gpu=on_gpu)
        how = designs.how(design, on_gpu=on_gpu)
        if self._loads_differ:
            how["variant_batches"] = [n % self.variant.batches for n in batches]
        if self._loads_differ or design == designs.REQUESTS:
            how["counts"] = list(counts)
        return design, how

    @property
    def _loads_differ(self) -> bool:
        """Say whether the sides have different workloads, or take different numbers of turns."""
        ours, theirs = (designs.shape(under.arm.workload) for under in self.sides)
        return ours != theirs or self.base.turns != self.variant.turns

    def _decoded(self, batches: Sequence[int], ours: TurnTimes, theirs: TurnTimes) -> dict[str, Any]:
        """Return what is recorded of the requests themselves, where the sides need not have the same."""
        both = list(zip(self.sides, (ours, theirs), strict=True))
        found: dict[str, Any] = {"cascaded": theirs.cascaded, "baseline_cascaded": ours.cascaded}
        if self._loads_differ:
            loads = (under.arm.workload for under in self.sides)
            found["requests"] = Sides(*(designs.requests_in(load, batches) for load in loads))
        if ours.output_tokens and theirs.output_tokens:
            found["tokens"] = Sides(*(self._tokens(under, times, batches) for under, times in both))
        if ours.replies and theirs.replies:
            found["replies"] = Sides(ours.replies, theirs.replies)
        return found

    def _tokens(self, under: ArmUnderTest, times: TurnTimes, batches: Sequence[int]) -> int:
        """Return the tokens of a side's prompts and answers in these batches."""
        lengths, size = self._lengths[under.arm.name], under.arm.workload.batch_size
        places = (n % under.batches * size for n in batches)
        return sum(times.output_tokens) + sum(sum(lengths[place : place + size]) for place in places)

    def _cold(self) -> Sides[ColdStart]:
        """Return each side's load time and first request, measured while the other side was loading too."""
        both = zip(self.loaded, self.warm, strict=True)
        return Sides(*(ColdStart(loaded.load_s, warm.first_request_ms) for loaded, warm in both))


def made_now(loaded: Loaded) -> bool:
    """Say whether this load did one-off work itself, such as calibration, instead of reusing the result."""
    return any(not bill["reused"] for bill in loaded.one_off_bills())


def with_bills_of(spent: Loaded, loaded: Loaded) -> tuple[Json, ...]:
    """Return the evidence of ``loaded`` with the costs of calibration and training of an earlier load."""
    pairs = zip(loaded.evidence, spent.evidence, strict=True)
    return tuple({**step, "one_off": before.get("one_off", [])} for step, before in pairs)


def prompts_of(arm: Arm) -> Sequence[Any]:
    """Return the requests of the arm's workload."""
    found: Sequence[Any] = plugins.load("workloads", arm.workload.name).prompts(arm.workload)
    return found
