"""Measure a baseline and a variant in two fresh processes that run one after the other: the design ``abba``.

Only one model is in memory at a time, so this works where two do not fit a GPU, and no partner can disturb a
step. Whatever changes between the two processes is part of the ratio, though, so its interval is wider.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from time import monotonic
from typing import Any

from bench.config.spec import Group
from bench.machine import noise
from bench.machine.gpu_watch import GpuRound
from bench.machine.noise import Ticks
from bench.measure import designs, passes, replies
from bench.measure.arm import ArmUnderTest, Fetch, end_of, open_worker, tidy, watch_of
from bench.measure.asked import prompts_of
from bench.measure.bills import made_now, with_bills_of
from bench.measure.fresh_pair import tokens_of
from bench.measure.models import record_models
from bench.measure.together import blaming_baseline
from bench.records import ColdStart, Loaded, Sides, TurnTimes, UnitRecord


class ApartPair:
    """Measures pair ``number``. A random draw decides which side comes first in pairs 1, 3, 5 and so on; in
    the pair after each of them the other side comes first."""

    def __init__(self, group: Group, variant: ArmUnderTest, fetch: Fetch, number: int) -> None:
        self._context, self._fetch = variant.context, fetch
        self.group, self.number, self.variant = group, number, variant
        self.base = open_worker(group.baseline, group.label, variant.context)
        self.base.reopened = True
        both = (number + 1) // 2
        seed = f"{self._context.measure.seed}/{group.label}/{variant.arm.name}/{both}"
        self.first = (random.Random(seed).randrange(2) + number) % 2
        self._loaded: dict[bool, Loaded] = {}
        self._cold: dict[bool, ColdStart] = {}
        self._windows: list[tuple[Ticks, Ticks]] = []
        self._seen: list[GpuRound] = []

    @property
    def loaded(self) -> Loaded:
        """Return the reply to the variant's load, with the costs of what its first process has made."""
        return self._loaded[False]

    def measure(self, batches: Sequence[int], then: Callable[[], None] = lambda: None) -> UnitRecord:
        """Run both sides and return their times; ``then`` is done in the variant's process, after its turns.

        Raises VariantFailed for the variant, BaselineDied for the baseline.
        """
        began = monotonic()
        times: dict[bool, TurnTimes] = {}
        order = (self.base, self.variant) if self.first == 0 else (self.variant, self.base)
        for side in order:
            is_base = side is self.base
            with blaming_baseline() if is_base else nullcontext():
                times[is_base] = self._run_side(side, batches, then=(lambda: None) if is_base else then)
        said = Sides(times[True].replies, times[False].replies)
        return UnitRecord(
            number=self.number,
            group=self.group.label,
            variant=self.variant.arm.name,
            batches=tuple(batches),
            spawned_first=self.first,
            baseline_ns=times[True].durations_ns,
            variant_ns=times[False].durations_ns,
            cold=Sides(self._cold[True], self._cold[False]),
            took_s=round(monotonic() - began, 3),
            noise={**noise.between("unit", *self.ticks), **_of_both(self._seen)},
            void=next((seen.void for seen in self._seen if seen.void), ""),
            replies=said if said.baseline and said.variant else None,
            tokens=tokens_of((self.base, self.variant), (times[True], times[False]), batches),
            design=designs.ABBA,
            cascaded=times[False].cascaded,
            baseline_cascaded=times[True].cascaded,
        )

    @property
    def ticks(self) -> tuple[Ticks, Ticks]:
        """Return processor time before and after the turns of both sides, without what lay between them."""
        (before, after), *others = self._windows
        for start, end in others:
            after = Ticks(
                after.total + end.total - start.total,
                after.steal + end.steal - start.steal,
                after.idle + end.idle - start.idle,
                after.own + end.own - start.own,
                end.load1,
            )
        return before, after

    def _run_side(self, side: ArmUnderTest, batches: Sequence[int], then: Callable[[], None]) -> TurnTimes:
        """Run one side in a process of its own. If that process has calibrated or trained, measure a second
        one, which loads the result."""
        tidy(side)
        with side.worker:
            loaded = self._load(side)
            if not made_now(loaded):
                return self._timed(side, batches, then)
        side.worker = open_worker(side.arm, self.group.label, self._context).worker
        with side.worker:
            self._load(side, spent=loaded)
            return self._timed(side, batches, then)

    def _load(self, side: ArmUnderTest, spent: Loaded | None = None) -> Loaded:
        model, baseline = (self._fetch(arm.model) for arm in (side.arm, self.group.baseline))
        record_models(side, model, self._fetch)
        loaded = passes.load(side, model, baseline, self._fetch, self.number)
        if spent is not None:
            loaded = with_bills_of(spent, loaded)
            side.loaded_with(loaded)
        self._loaded[side is self.base] = loaded
        return loaded

    def _timed(self, side: ArmUnderTest, batches: Sequence[int], then: Callable[[], None]) -> TurnTimes:
        """Warm up and run the timed requests, then whatever else the process is for."""
        repeats = side.arm.workload.warmup
        warm = passes.warm_up(side, prompts_of(side.arm), most=repeats, finite=not side.reopened)
        is_base = side is self.base
        self._cold[is_base] = ColdStart(self._loaded[is_base].load_s, warm.first_request_ms)
        watch, before = watch_of(side), noise.read_ticks([side.worker.pid])
        told = designs.how(designs.ABBA, on_gpu=side.known.on_gpu)
        result = side.worker.ask(
            "alone", self._context.measure.timeout_s, turns=side.turns, wake=told.get("wake", 0),
            batches=[number % side.batches for number in batches],
        )  # fmt: skip
        times = replies.turn_times(result, len(batches), side.turns)
        self._windows.append((before, noise.read_ticks([side.worker.pid])))
        self._seen.append(end_of(watch, side))
        then()
        return times


def _of_both(rounds: Sequence[GpuRound]) -> dict[str, Any]:
    """Return what was recorded of the GPUs while either side ran."""
    gpus = [gpu for seen in rounds for gpu in seen.record.get("gpus", ())]
    return {"gpus": gpus} if gpus else {}
