"""The gate's sample: a unit is one pair of freshly started workers that decode the same requests in turns.

Both sides get the same treatment: the same number of warm-up requests, the same prompts, the same files in
the page cache; which is started first and who begins each turn are coins from the seed. Only one side runs
at any time while the clock is read. Whether a unit counts is decided by what others did to the machine
meanwhile, never by its outcome.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from bench import plugins
from bench.errors import Outcome
from bench.machine import noise
from bench.measure import arm as one
from bench.measure import replies
from bench.measure.arm import ArmUnderTest, Bench, open_worker
from bench.measure.pair import pinned_together
from bench.measure.together import ask_both, ask_each, blaming_baseline
from bench.models.reference import LocalModel, ModelRef
from bench.records import UnitRecord
from bench.spec import Arm, Group


@dataclass(frozen=True)
class Wanted:
    """What a unit takes besides times: counters and memory peaks cost a request each, so only if asked."""

    counters: bool = False
    memory: bool = False


@dataclass(frozen=True)
class Comparison:
    """A baseline and one variant, and how their units are made. ``batches`` a unit decodes, in rotation."""

    group: Group
    variant: Arm
    bench: Bench
    fetch: Callable[[ModelRef], LocalModel]
    batches: int

    @property
    def key(self) -> tuple[str, str]:
        """(group, variant), as in the records."""
        return self.group.label, self.variant.name

    @property
    def available(self) -> int:
        """How many batches the workload has."""
        load = self.variant.workload
        return -(-load.requests // load.batch_size)

    def chosen(self, number: int) -> list[int]:
        """The batches of unit ``number`` (from 1): each request comes as often as another."""
        start = (number - 1) * self.batches
        return [(start + i) % self.available for i in range(self.batches)]

    def measure(self, number: int, wanted: Wanted, rows: bool) -> UnitRecord:
        """One unit. ``rows`` also records both arms (who they are, evidence, kernels) in the journal.

        Raises VariantFailed for the variant, BaselineDied for the baseline.
        """
        label, began = self.group.label, monotonic()
        rng = random.Random(f"{self.bench.measure.seed}/{label}/{self.variant.name}/{number}")
        first, batches = rng.randrange(2), self.chosen(number)
        base, variant = (open_worker(arm, label, self.bench) for arm in (self.group.baseline, self.variant))
        with ExitStack() as stack:
            for under in (base, variant) if first == 0 else (variant, base):
                under.reopened = not rows
                if rows:
                    one.begin(under)
                stack.enter_context(under.worker)
            cold = self._prepare(base, variant, rows)
            peaks = self._each("memory", base, variant) if wanted.memory else None
            counted = self._count(base, variant) if wanted.counters else None
            before = noise.read_ticks([base.worker.pid, variant.worker.pid])
            ours, theirs = self._duet(base, variant, batches, rng)
            after = noise.read_ticks([base.worker.pid, variant.worker.pid])
            for under in (base, variant):
                under.record(status=Outcome.OK, reason="")
        shares = noise.between("unit", before, after)
        return UnitRecord(
            number=number,
            group=label,
            variant=self.variant.name,
            batches=tuple(batches),
            spawned_first=first,
            baseline_ns=tuple(map(tuple, ours)),
            variant_ns=tuple(map(tuple, theirs)),
            counters=counted,
            peaks=peaks,
            cold=cold,
            void="the hypervisor took processor time" if noise.stolen(before, after) else "",
            took_s=round(monotonic() - began, 3),
            noise=shares,
        )

    def _prepare(self, base: ArmUnderTest, variant: ArmUnderTest, rows: bool) -> dict[str, Any]:
        """Both loaded and warmed up, a fixed number of times, at the same time. Returns what that tells of a
        cold start: each side had the other for a neighbour."""
        limit_s = self.bench.measure.timeout_s
        sides = (base, variant)
        models = [self.fetch(under.arm.model) for under in sides]
        for under, model in zip(sides, models, strict=True):
            under.record(model={**asdict(model.source), "random": model.random})
        loads = [
            one.load_arguments(under.arm, model, models[0])
            for under, model in zip(sides, models, strict=True)
        ]
        loaded = ask_each("load", base.worker, variant.worker, limit_s, *loads)
        prompts = [one.prompt_arguments(under.arm, _prompts(under.arm)) for under in sides]
        encoded = ask_each("prompts", base.worker, variant.worker, limit_s, *prompts)
        for under, found, ids in zip(sides, loaded, encoded, strict=True):
            replies.check("load", found, under.arm.workload)
            replies.check("prompts", ids, under.arm.workload)
            one.check_fits_context(under, max(ids["input_tokens"]))
            under.facts = found["facts"]
            under.record(loaded=found, prompts_digest=ids["digest"], end_ids=ids["end_ids"])
        counts = [under.arm.workload.warmup for under in sides]
        fixed = [{"least": count, "most": count, "profile": rows} for count in counts]
        warm = ask_each("warm_up", base.worker, variant.worker, limit_s, *fixed)
        for under, first in zip(sides, warm, strict=True):
            replies.check("warm_up", first, under.arm.workload)
            under.record(warm_up=first)
        return {
            side: {"load_s": found["load_s"], "first_request_ms": first["first_request_ms"]}
            for side, found, first in zip(("baseline", "variant"), loaded, warm, strict=True)
        }

    def _each(self, do: str, base: ArmUnderTest, variant: ArmUnderTest) -> dict[str, Any]:
        """An untimed pass of both sides, one after the other."""
        found = {}
        for side, under in (("baseline", base), ("variant", variant)):
            with blaming_baseline() if under is base else nullcontext():
                found[side] = under.worker.ask(do, self.bench.measure.timeout_s)
                replies.check(do, found[side], under.arm.workload)
        return found

    def _count(self, base: ArmUnderTest, variant: ArmUnderTest) -> dict[str, Any]:
        """Counters of both sides; they also stand in the arms' own records."""
        counted = self._each("count", base, variant)
        for side, under in (("baseline", base), ("variant", variant)):
            named = {"group": self.group.label, "name": under.arm.name}
            self.bench.journal.append("arm", {**named, "counters": counted[side]})
        return counted

    def _duet(
        self, base: ArmUnderTest, variant: ArmUnderTest, batches: Sequence[int], rng: random.Random
    ) -> tuple[list[list[int]], list[list[int]]]:
        turns = self.variant.workload.output_tokens
        firsts = [[rng.randrange(2) for _ in range(turns)] for _ in batches]
        with pinned_together(base, variant):
            a, b = ask_both(
                "duet", base.worker, variant.worker, self.bench.measure.timeout_s,
                batches=list(batches), firsts=firsts,
            )  # fmt: skip
        with blaming_baseline():
            replies.check_duet(a, len(batches), turns)
        replies.check_duet(b, len(batches), turns)
        return a["durations_ns"], b["durations_ns"]


def _prompts(arm: Arm) -> Sequence[Any]:
    found: Sequence[Any] = plugins.load("workloads", arm.workload.name).prompts(arm.workload)
    return found
