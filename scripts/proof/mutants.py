"""Build gates wrong on purpose: the campaign must notice them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import monotonic
from types import SimpleNamespace
from typing import Any

from bench.measure import designs, passes, units
from bench.measure.arm import open_worker
from bench.measure.designs import batches_of
from bench.measure.fresh_pair import FreshPair
from bench.records import UnitRecord
from bench.runs import units as rounds


class FirstIsAlwaysTheBaseline(random.Random):
    """A coin that always shows the same side."""

    def randrange(self, *bounds: Any, **more: Any) -> int:
        """Return heads."""
        return 0


class OneProcess(units.Comparison):
    """Take all units of a gate from one pair of processes, which is started once and never replaced."""

    kept: dict[tuple[str, str], FreshPair] = {}  # noqa: RUF012 - shared on purpose
    stack = ExitStack()

    def measure(self, number: int, extras: units.UnitExtras) -> UnitRecord:
        """Measure one more slice of the same two workers."""
        began = monotonic()
        if self.key not in self.kept:
            variant = open_worker(self.variant, self.group.label, self.context)
            pair = FreshPair(self.group, variant, self.fetch, number, rows=True)
            for under in pair.sides:
                passes.begin(under)
            self.stack.enter_context(pair)
            pair.load()
            pair.warm_up(check=extras.row)
            self.kept[self.key] = pair
        pair = self.kept[self.key]
        pair.number = number
        unit = pair.turns(batches_of(number, self.batches, pair.variant.batches))
        for under in pair.sides:
            under.record(status="ok", reason="")
        return replace(unit, took_s=round(monotonic() - began, 3))


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Break one rule in the design of ``bench.runs.units``; any other name leaves the gate as it is."""
    if name == "fixed-order":
        with _changed(designs, random=SimpleNamespace(Random=FirstIsAlwaysTheBaseline)):
            yield
    elif name == "one-process":
        with OneProcess.stack, _changed(rounds, Comparison=OneProcess):
            yield
        OneProcess.kept.clear()
    else:
        yield


@contextmanager
def _changed(module: Any, **values: Any) -> Iterator[None]:
    before = {key: getattr(module, key) for key in values}
    for key, value in values.items():
        setattr(module, key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            setattr(module, key, value)
