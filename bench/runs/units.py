"""Measure the units of a gate or a calibration, a round of all comparisons at a time, into a journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.config.served import is_server
from bench.config.spec import Spec
from bench.errors import Outcome, VariantFailed
from bench.gate.judge import undecided
from bench.gate.reach import nothing_differs
from bench.measure.arm import RunContext
from bench.measure.events import Began, Ended, Tell, nobody
from bench.measure.group import GroupRun
from bench.measure.interrupt import Interrupt
from bench.measure.served import ServedComparison
from bench.measure.together import BaselineDied
from bench.measure.units import Comparison, Wanted
from bench.measure.worker_process import PeerGone
from bench.records import Json, RunRecord, UnitRecord
from bench.runs.directory import new_directory
from bench.runs.run import begin, finishing, the_machine
from bench.runs.sides import Fetch
from bench.store.files import naming
from bench.store.lock import run_lock
from bench.store.replay import Growing


@dataclass
class Work:
    """What is measured, what the head of the journal says about it, and who is told."""

    spec: Spec
    text: tuple[str, dict[str, Any]]
    head: dict[str, Any]
    fetch: Fetch
    takes: Wanted = field(default_factory=Wanted)
    whole_run: bool = False
    earlier: Sequence[UnitRecord] = ()
    tell: Tell = nobody
    price: Json | None = None


@contextmanager
def alone(spec: Spec, out: Path, tell: Tell) -> Iterator[None]:
    """Wait for the machine, then hold ``out``. A second gate in ``out`` that does not wait for this one, for
    example on the other half of a machine, is refused: both would continue with the same evidence."""
    with naming("create", out):
        out.mkdir(parents=True, exist_ok=True)
    with the_machine(spec, tell), run_lock(out):
        yield


def measure(work: Work, out: Path) -> Path:
    """Measure, and return a directory that always holds a verdict, or the reason why there is none."""
    text, about_text = work.text
    with Interrupt() as interrupt:
        directory = new_directory(out, work.spec.name)
        with run_lock(directory), begin(directory, work.spec, about_text, work.head, work.price) as journal:
            spec, tell = work.spec, work.tell
            tools = RunContext(
                directory, journal, tell, interrupt.check, spec.measure, spec.drift, text, duets=False,
                slo=spec.slo.limits if spec.slo else {},
            )  # fmt: skip
            with finishing(directory, journal, interrupt):
                for unit in work.earlier:
                    journal.append("unit", asdict(unit))
                so_far = Growing(directory)
                if work.whole_run and not nothing_differs(so_far.run()):
                    for group in work.spec.groups:
                        GroupRun(group, tools, work.fetch, {}).run()
                _Units(work, tools, so_far).run()
    return directory


class _Units:
    """Measures units of all comparisons in turn, until each is decided, has failed or has reached the cap."""

    def __init__(self, work: Work, tools: RunContext, so_far: Growing) -> None:
        self.work, self.tools, self.so_far = work, tools, so_far
        self.open = [
            (ServedComparison if is_server(variant.runtime) else Comparison)(
                group, variant, tools, work.fetch, work.head["batches_per_unit"]
            )
            for group in work.spec.groups
            for variant in group.variants
        ]

    def run(self) -> None:
        """Measure one round after the other."""
        while self.open and not nothing_differs(record := self.so_far.run()):
            self.open = [one for one in self.open if self._goes_on(one, record)]
            for comparison in list(self.open):
                self.tools.pause()
                self._one(comparison, record)

    def _goes_on(self, comparison: Comparison, record: RunRecord) -> bool:
        mine = [u for u in record.units if (u.group, u.variant) == comparison.key]
        if self.work.head["mode"] == "calibration":
            return sum(not u.void for u in mine) < self.work.head["units_wanted"] and not _unfit(mine)
        return _none_here(mine) or comparison.key in undecided(record)

    def _one(self, comparison: Comparison, record: RunRecord) -> None:
        variant = comparison.variant.name
        mine = [u for u in record.units if (u.group, u.variant) == comparison.key]
        number, rows = 1 + len(mine), not self.work.whole_run and _none_here(mine)
        self.tools.tell(Began(variant, f"unit {number}"))
        try:
            unit = comparison.measure(number, self.work.takes, rows)
        except VariantFailed as failure:
            self._failed(comparison, variant, failure.outcome, failure.reason)
        except (BaselineDied, PeerGone) as gone:
            base = comparison.group.baseline.name
            self._failed(comparison, base, Outcome.BASELINE_FAILED, f"the baseline's worker failed ({gone})")
        else:
            self.tools.journal.append("unit", asdict(unit))
            self.tools.journal.sync()

    def _failed(self, comparison: Comparison, name: str, outcome: Outcome, reason: str) -> None:
        """End a comparison that cannot be measured; its rules report the reason."""
        group = comparison.group.label
        self.tools.journal.append("arm", {"group": group, "name": name, "status": outcome, "reason": reason})
        self.tools.journal.sync()
        self.tools.tell(Ended(name, outcome, reason))
        self.open.remove(comparison)


def _none_here(units: Sequence[UnitRecord]) -> bool:
    """Return whether this run has not measured a unit yet, so that all units are from earlier runs."""
    return all(unit.from_run for unit in units)


def _unfit(units: Sequence[UnitRecord]) -> bool:
    return len(units) >= 10 and 2 * sum(bool(unit.void) for unit in units) > len(units)
