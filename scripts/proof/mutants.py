"""Gates that are built wrong on purpose: the campaign must notice them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from types import SimpleNamespace
from typing import Any

from bench import gating
from bench.measure import arm as one
from bench.measure import units
from bench.records import UnitRecord


class FirstIsAlwaysTheBaseline(random.Random):
    """A coin with one side."""

    def randrange(self, *bounds: Any, **more: Any) -> int:
        """Heads."""
        return 0


class OneProcess(units.Comparison):
    """All units of a gate from one pair of processes, which the first unit starts and nobody replaces."""

    kept: dict[tuple[str, str], Any] = {}  # noqa: RUF012 - shared on purpose
    stack = ExitStack()

    def measure(self, number: int, wanted: units.Wanted, rows: bool) -> UnitRecord:
        """One more slice of the same two workers."""
        began, rng = monotonic(), random.Random(f"{self.bench.measure.seed}/{number}")
        if self.key not in self.kept:
            sides = [
                units.open_worker(arm, self.group.label, self.bench)
                for arm in (self.group.baseline, self.variant)
            ]
            for under in sides:
                one.begin(under)
                self.stack.enter_context(under.worker)
            self._prepare(*sides, rows)
            self.kept[self.key] = sides
        base, variant = self.kept[self.key]
        batches = self.chosen(number)
        ours, theirs = self._duet(base, variant, batches, rng)
        for under in (base, variant):
            under.record(status="ok", reason="")
        return UnitRecord(
            number, self.group.label, self.variant.name, tuple(batches), 0,
            tuple(map(tuple, ours)), tuple(map(tuple, theirs)), took_s=round(monotonic() - began, 3),
        )  # fmt: skip


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """``bench.gating`` with one rule of its design broken; with no name, as it is."""
    if name == "fixed-order":
        with _changed(units, random=SimpleNamespace(Random=FirstIsAlwaysTheBaseline)):
            yield
    elif name == "one-process":
        with OneProcess.stack, _changed(gating, Comparison=OneProcess):
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
