"""Measure a baseline and a variant in two freshly started processes: the sample of `run` and of `gate`.

A random draw decides which worker starts first. Both load at the same time on two processors, warm up with
the same number of requests, and then decode the same requests in turns. They warm up at the same time only if
there is a processor for each of their threads. Up to the turns both sides do the same things, and both
processes end with the pair, so nothing carries over to the next pair.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import Any

from bench.config.spec import Group
from bench.errors import OnFailure
from bench.machine import noise
from bench.measure import arm as arms
from bench.measure import designs, passes, replies
from bench.measure.arm import ArmUnderTest, Fetch, open_worker
from bench.measure.asked import prompts_of
from bench.measure.bills import with_bills_of
from bench.measure.files_read import record_reading
from bench.measure.models import record_models
from bench.measure.pair_processors import pinned
from bench.measure.replies import Command, Reply
from bench.measure.together import ask_both, ask_each, ask_in_order, blaming_baseline
from bench.records import ColdStart, Loaded, Sides, TurnTimes, UnitRecord

NOTHING_SPENT: Sides[Loaded | None] = Sides(None, None)


class FreshPair:
    """A context manager around the two workers of pair ``number``; random draws use the config's seed. With
    ``notes`` both sides note which files of their commits they read. Without ``share`` they do not decode at
    the same time on one processor."""

    def __init__(
        self, group: Group, variant: ArmUnderTest, fetch: Fetch, number: int, *,
        rows: bool = False, notes: bool = False, share: bool = True,
    ) -> None:  # fmt: skip
        self._context, self._fetch, self._notes, self._share = variant.context, fetch, notes, share
        self.group, self.number, self.variant = group, number, variant
        self.base = open_worker(group.baseline, group.label, variant.context)
        self.base.reopened = not rows
        seed, row = self._context.measure.seed, f"{group.label}/{variant.arm.name}"
        self._orders = designs.orders(f"{seed}/{row}", number, mirrored=self._context.duets)
        self.spawned_first = next(self._orders)
        self._workers = ExitStack()
        self._began = monotonic()

    def __enter__(self) -> FreshPair:
        with OnFailure(self._workers.close):
            for side in self.sides:
                with blaming_baseline() if side is self.base else nullcontext():
                    arms.tidy(side)
            for side in (self.base, self.variant) if self.spawned_first == 0 else (self.variant, self.base):
                with blaming_baseline() if side is self.base else nullcontext():
                    self._workers.enter_context(side.worker)
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
        to_baseline: Mapping[str, object],
        to_variant: Mapping[str, object],
        *,
        together: bool = True,
    ) -> tuple[Reply, Reply]:
        """Run the same untimed command on both sides and check each reply. They run it at the same time, or,
        if not ``together``, first the side that started first and then the other one."""
        workers, limit_s = (self.base.worker, self.variant.worker), self._context.measure.timeout_s
        if together:
            found = ask_each(command.do, *workers, limit_s, to_baseline, to_variant)
        else:
            found = ask_in_order(command.do, *workers, limit_s, to_baseline, to_variant, self.spawned_first)
        with blaming_baseline():
            base = replies.read(command, found[0], self.base.asked)
        return base, replies.read(command, found[1], self.variant.asked)

    def _fit_together(self) -> bool:
        """Say whether there is a processor for each thread of both sides; a GPU is fed by one thread."""
        threads = (1 if side.known.on_gpu else side.known.threads or 1 for side in self.sides)
        return sum(threads) <= len(os.sched_getaffinity(0))

    def load(self, spent: Sides[Loaded | None] = NOTHING_SPENT) -> None:
        """Load and optimise both models, and check the evidence. ``spent`` are the replies to an earlier load
        of the same rows: its costs of calibration and training are then recorded for this load."""
        models = [self._fetch(side.arm.model) for side in self.sides]
        for side, model in zip(self.sides, models, strict=True):
            record_models(side, model, self._fetch)
        loads = [
            {
                **arms.load_arguments(side.arm, model, models[0], self._fetch),
                "roots": self._roots(side),
                "process": self.number,
                "step_by_step": not all(side.reopened for side in self.sides),
            }
            for side, model in zip(self.sides, models, strict=True)
        ]
        found = self.ask_each(replies.LOAD, *loads)
        base, variant = (
            now if before is None else with_bills_of(before, now)
            for before, now in zip((spent.baseline, spent.variant), found, strict=True)
        )
        self.loaded = base, variant
        for side, loaded in zip(self.sides, self.loaded, strict=True):
            side.loaded_with(loaded)

    def _roots(self, side: ArmUnderTest) -> dict[str, str]:
        """Return the directories in which a side notes what it reads."""
        return dict(side.arm.place.roots) if self._notes else {}

    def record_reached(self) -> None:
        """Write which files of its own commit each side has read, if the sides are of commits."""
        roots = [self._roots(side) for side in self.sides]
        if any(roots):
            record_reading(self.sides, roots, lambda command: self.ask_each(command, {}, {}))

    def warm_up(self, *, check: bool, first: int = 0) -> None:
        """Hand over the prompts and decode the ``first`` batch as often as the workload says, on both sides.
        With ``check`` both also see whether their logits are numbers."""
        prompts = [arms.prompt_arguments(side.arm, prompts_of(side.arm)) for side in self.sides]
        encoded = self.ask_each(replies.PROMPTS, *prompts)
        for side, found in zip(self.sides, encoded, strict=True):
            with blaming_baseline() if side is self.base else nullcontext():
                passes.check_fits_context(side, max(found.input_tokens))
            side.input_tokens = found.input_tokens
            side.record(prompts_digest=found.digest, end_ids=found.end_ids)
        fixed = [
            {
                "least": side.arm.workload.warmup,
                "most": side.arm.workload.warmup,
                "finite": check,
                "first": first % side.batches,
            }
            for side in self.sides
        ]
        self.warm = self.ask_each(replies.WARM_UP, *fixed, together=self._fit_together())
        for side, warm in zip(self.sides, self.warm, strict=True):
            side.record(warm_up=warm)

    def turns(self, batches: Sequence[int]) -> UnitRecord:
        """Decode ``batches`` on both sides and return the times: in turns token by token on a CPU, batch by
        batch on a GPU, or beside each other (see ``designs``). If the sides have different workloads (a gate
        on commits), whole batches take turns too.

        The unit is void if the driver says that others used the GPU or that heat slowed it, or if a side that
        shares a processor computed outside its thread. Otherwise the caller decides, and uses only ``ticks``
        for that: the processor time before and after.
        """
        counts = [side.turns for side in self.sides]
        firsts = [[*islice(self._orders, max(counts))] for _ in batches]
        design, how = self._manner(batches, counts)
        pids, share = [side.worker.pid for side in self.sides], design == designs.SLICES
        watch, before = arms.watch_of(*self.sides), noise.read_ticks(pids)
        with pinned(self.base, self.variant, swapped=self.spawned_first == 1, share=share):
            of_baseline, of_variant = ask_both(
                "duet", self.base.worker, self.variant.worker, self._context.measure.timeout_s,
                batches=[n % self.base.batches for n in batches], firsts=firsts, **how,
            )  # fmt: skip
        with blaming_baseline():
            baseline_times = replies.turn_times(of_baseline, len(batches), counts[0])
        variant_times = replies.turn_times(of_variant, len(batches), counts[1])
        self.ticks = before, noise.read_ticks(pids)
        seen = arms.end_of(watch, *self.sides)
        return UnitRecord(
            number=self.number,
            group=self.group.label,
            variant=self.variant.arm.name,
            batches=tuple(batches),
            spawned_first=self.spawned_first,
            baseline_ns=baseline_times.durations_ns,
            variant_ns=variant_times.durations_ns,
            cold=self._cold(),
            took_s=round(monotonic() - self._began, 3),
            noise={**noise.between("unit", *self.ticks), **seen.record},
            void=seen.void or designs.why_void(design, [baseline_times.elsewhere, variant_times.elsewhere]),
            design=design,
            **self._decoded(batches, baseline_times, variant_times),
        )

    def _manner(self, batches: Sequence[int], counts: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Return the design, and how the workers are told of it and of workloads that differ."""
        on_gpu = self.base.known.on_gpu or self.variant.known.on_gpu
        kernels = [designs.kernels(side.arm, side.facts) for side in self.sides]
        design = designs.chosen(
            self._context.measure.design, on_gpu=on_gpu, may_share=self._may_share(),
            alike=not self._context.duets or kernels[0].like(kernels[1]),
        )  # fmt: skip
        how = designs.how(design, on_gpu=on_gpu)
        if self._loads_differ:
            how["variant_batches"] = [n % self.variant.batches for n in batches]
        if self._loads_differ or design == designs.REQUESTS:
            how["counts"] = list(counts)
        return design, how

    def _may_share(self) -> bool:
        """Say whether both sides compute in one thread, as set or, where nothing was set, as seen."""
        threads = {side.known.threads for side in self.sides}
        shares = [warm.elsewhere for warm in self.warm]
        return self._share and threads <= {None, 1} and designs.can_share(shares)

    @property
    def _loads_differ(self) -> bool:
        """Say whether the sides have different workloads, or take different numbers of turns."""
        baseline, variant = (designs.shape(side.arm.workload) for side in self.sides)
        return baseline != variant or self.base.turns != self.variant.turns

    def _decoded(self, batches: Sequence[int], baseline: TurnTimes, variant: TurnTimes) -> dict[str, Any]:
        """Return what is recorded of the requests themselves, where the sides need not have the same."""
        found: dict[str, Any] = {"cascaded": variant.cascaded, "baseline_cascaded": baseline.cascaded}
        if self._loads_differ:
            loads = (side.arm.workload for side in self.sides)
            found["requests"] = Sides(*(designs.requests_in(load, batches) for load in loads))
        found["tokens"] = tokens_of(self.sides, (baseline, variant), batches)
        if baseline.replies and variant.replies:
            found["replies"] = Sides(baseline.replies, variant.replies)
        return found

    def _cold(self) -> Sides[ColdStart]:
        """Return each side's load time and first request, measured while the other side was loading too."""
        both = zip(self.loaded, self.warm, strict=True)
        return Sides(*(ColdStart(loaded.load_s, warm.first_request_ms) for loaded, warm in both))


def tokens_of(
    sides: Sequence[ArmUnderTest], times: Sequence[TurnTimes], batches: Sequence[int]
) -> Sides[int] | None:
    """Return the tokens of both sides' prompts and answers in these batches; None unless answers come as a
    whole, because otherwise their number is known."""
    if not all(one.output_tokens for one in times):
        return None
    return Sides(
        *(side.tokens_in(batches, one.output_tokens) for side, one in zip(sides, times, strict=True))
    )
