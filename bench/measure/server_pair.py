"""Measure a baseline's server and a variant's server under the same load, in blocks that alternate: A B B A.

Both servers are started anew for each pair, as processes are in ``fresh_pair``. If memory has room for two,
both stay up while they take turns; otherwise one is stopped before the other is started. A random draw
decides which side is A. Both get the same prompts at the same times. A pair is void if the client was the
bottleneck in one of its blocks, or if others used the machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from time import monotonic

from bench.config.served import address_of, on_gpu
from bench.config.spec import Group
from bench.errors import OnFailure
from bench.machine import noise
from bench.machine.noise import Ticks
from bench.machine.system import memory_bytes
from bench.measure import served_drift, served_suites
from bench.measure.arm import ArmUnderTest, open_worker
from bench.measure.events import Began
from bench.measure.load_blocks import Plan, Serving
from bench.measure.models import record_models
from bench.measure.servers import cores_for, serving
from bench.measure.together import blaming_baseline
from bench.metrics.requests import Limits
from bench.models.reference import LocalModel
from bench.records import ANY, Json, LoadBlock, Sides, UnitRecord
from bench.serving.load import run
from bench.serving.prompts import Prompts
from bench.serving.reply import Asked

Fetch = Callable[..., LocalModel]
ORDER = (0, 1, 1, 0)  # of the blocks of a pair: what drifts in time is the same for both sides
ROUND = (0, 0, 1, 1)  # which prompts each of them sends
SEED_SPAN = 1 << 12
# The second server is started beside the first if this many times the memory of the first is free.
ROOM = 1.25


class ServerPair:
    """The two sides of pair ``number``. With ``rows`` the baseline is also recorded in the journal.

    In the ``first`` pair of a row the memory and energy of the variant's server are measured too, and the
    outputs of both are compared after the blocks.
    """

    def __init__(
        self, group: Group, variant: ArmUnderTest, fetch: Fetch, number: int, *,
        rows: bool = False, first: bool = False,
    ) -> None:  # fmt: skip
        self.group, self.number, self.variant = group, number, variant
        self._first = first
        self.context, self._fetch = variant.context, fetch
        self.base = open_worker(group.baseline, group.label, variant.context)
        self.base.reopened = not rows
        self._draw = random.Random(f"{self.context.measure.seed}/{group.label}/{variant.arm.name}/{number}")
        self._together = not any(on_gpu(arm.runtime) for arm in (group.baseline, variant.arm))

    def measure(self) -> UnitRecord:
        """Measure the pair. Raises VariantFailed for the variant, BaselineDied for the baseline."""
        began, first = monotonic(), self._draw.randrange(2)
        self._plans = [plan_of(row, self._draw.randrange(1 << 20) * SEED_SPAN) for row in self.sides]
        self._plans[1] = replace(self._plans[1], seed=self._plans[0].seed)
        blocks: tuple[list[LoadBlock], list[LoadBlock]] = ([], [])
        self._asked: dict[int, list[Asked] | None] = {}
        self._next = self._draw.randrange(1 << 20) if self._may_know_prompts else 0  # prompt of a data set
        self._ticks: list[tuple[Ticks, Ticks]] = []
        self._open: dict[int, tuple[ExitStack, Serving]] = {}
        self._watched: Serving | None = None
        self._cores = cores_for(*self.sides)
        try:
            for place, turn in zip(ROUND, ORDER, strict=True):
                side = turn ^ first
                blocks[side].append(self._block(side, place))
            took_s = monotonic() - began
            if self._watched is not None:
                self._watched.record_use()
            if self._first and self.context.compares_outputs:
                served_drift.between(self._running, self.variant)
            if self._first and served_suites.asked(self.context):
                served_suites.answer(self._running(1), self.variant)
        finally:
            self._close_all()
        return UnitRecord(
            number=self.number,
            group=self.group.label,
            variant=self.variant.arm.name,
            batches=(),
            spawned_first=first,
            void=_void([*blocks[0], *blocks[1]]) or self._disturbed(),
            noise=max((noise.between("unit", *ticks) for ticks in self._ticks), key=_foreign, default={}),
            took_s=round(took_s, 3),
            loads=Sides(tuple(blocks[0]), tuple(blocks[1])),
        )

    @property
    def sides(self) -> tuple[ArmUnderTest, ArmUnderTest]:
        """Return both arms, the baseline first."""
        return self.base, self.variant

    @property
    def _may_know_prompts(self) -> bool:
        """Say whether a server was there before, so that earlier pairs have sent it prompts too."""
        return any(address_of(row.arm.runtime) is not None for row in self.sides)

    def _disturbed(self) -> str:
        """Say that others used the machine during a block; '' if not. A gate minds only the hypervisor."""
        gate, most = not self.context.duets, self.context.measure.max_disturbance
        for ticks in self._ticks:
            if gate and noise.stolen(*ticks):
                return noise.STOLEN
            if not gate and noise.disturbed(*ticks, most):
                return f"others had {noise.others(*ticks):.0%} of the processors"
        return ""

    def _block(self, side: int, place: int) -> LoadBlock:
        with blaming_baseline() if side == 0 else nullcontext():
            server = self._running(side)
            if place not in self._asked:
                self._asked[place] = self._prompts(place)
            self.context.pause()
            self.context.tell(Began(self.variant.title, f"pair {self.number}, load on {self._name(side)}"))
            prompts = server.prompts(self._plans[side].seed + 1 + place)
            block, ticks = server.block(self._plans[side], place, self._asked[place], prompts)
            self._ticks += ticks
            if self._first and side == 1:
                self._watched = server
            return block

    def _prompts(self, place: int) -> list[Asked] | None:
        """Return the prompts of a round, which both sides get; None for a search, which makes its own."""
        plan = self._plans[0]
        if plan.searches:
            return None
        running = [server for _stack, server in self._open.values()]
        prompts = prompts_for(running, plan.seed + 1 + place, self._next)
        asked = run(plan.prompts(place, prompts))
        self._next = prompts.place
        return asked

    def _running(self, side: int) -> Serving:
        """Return a side's server, started and warm; the other one stops first if there is no room for two."""
        if side in self._open:
            return self._open[side][1]
        if self._open and not (self._together and room_beside(next(iter(self._open.values()))[1])):
            self._together = False
            self._close_all()
        row = self.sides[side]
        self.context.pause()
        self.context.tell(Began(self.variant.title, f"pair {self.number}, start {self._name(side)}"))
        stack = ExitStack()
        with OnFailure(stack.close):
            server = stack.enter_context(serving(row, self._fetch, self._cores))
            warm = server.prompts(self._plans[side].seed)
            server.warm_up(run(warm.of(self._plans[side].first())))
        self._open[side] = stack, server
        if self._first and side == 1:
            server.watched()
        row.record(server=server.head)
        return server

    def _name(self, side: int) -> str:
        return self.sides[side].arm.name

    def _close_all(self) -> None:
        with ExitStack() as all_of_them:
            for stack, _server in self._open.values():
                all_of_them.push(stack)
            self._open = {}


def reached_by(row: ArmUnderTest) -> dict[str, str]:
    """Return what a server may have read: anything of its commit. One that runs at an address already was
    started by somebody else, so no change of a commit has reached it."""
    return {} if address_of(row.arm.runtime) else {ANY: ""}


def _foreign(record: Json) -> float:
    """Return the share of the processors that others had, from a record of noise."""
    return float(record["foreign_share"])


def plan_of(row: ArmUnderTest, seed: int) -> Plan:
    """Return the load of a row."""
    limits = Limits({key.removesuffix("_ms"): most for key, most in row.context.slo.items()})
    return Plan(row.arm.workload, limits, seed)


def _void(blocks: list[LoadBlock]) -> str:
    """Say how the client spoiled a pair; '' if it did not. What was measured never decides this."""
    return next((block.void[0] for block in blocks if block.void), "")


@contextmanager
def server_alone(row: ArmUnderTest, fetch: Fetch, seed: int) -> Iterator[tuple[Serving, Plan]]:
    """Start a row's server by itself, warm it up, and yield it with the plan of its load."""
    plan = plan_of(row, seed)
    with serving(row, fetch, cores_for(row)) as server:
        server.warm_up(run(server.prompts(seed).of(plan.first())))
        row.record(server=server.head)
        yield server, plan


def record_model(row: ArmUnderTest, fetch: Fetch) -> None:
    """Record what is served: the model on this disk, or its name where somebody else serves it."""
    if address_of(row.arm.runtime) is None:
        model = fetch(row.arm.model)
        record_models(row, model, fetch)
    else:
        name = dict(row.arm.runtime.own)["model"]
        row.record(model={"name": str(name or "what the server serves"), "kind": "served"})


def room_beside(first: Serving) -> bool:
    """Return whether a second server of the size of this one fits into the memory that is free."""
    if first.target.server is None:
        return True
    available, taken = memory_bytes("MemAvailable"), first.target.server.memory_bytes()
    return available is None or available > ROOM * taken


def prompts_for(sides: Sequence[Serving], seed: int, place: int = 0) -> Prompts:
    """Return the prompts for these servers, in tokens of the first that lends its tokenizer.

    Both sides of a pair get the same prompts, so a tokenizer on one side serves both. Those of a data set
    begin at ``place``.
    """
    return Prompts(seed, next((one.count for one in sides if one.count is not None), None), place)
