"""Measure the units of a gate or a calibration: one unit of every comparison in each round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.config.served import is_server
from bench.config.spec import Spec
from bench.errors import Outcome, UsageError, VariantFailed
from bench.gate.change_impact import nothing_differs
from bench.gate.judge import undecided
from bench.measure.arm import RunContext
from bench.measure.by_itself import broken_base
from bench.measure.designs import ABBA, REQUESTS, SLICES, STEPS, may_not_share
from bench.measure.events import Began, Ended, Noted, Tell, nobody
from bench.measure.group import GroupRun
from bench.measure.interrupt import Interrupt
from bench.measure.served import ServedComparison
from bench.measure.together import BaselineDied
from bench.measure.units import Comparison, UnitExtras
from bench.measure.worker_process import PeerGone
from bench.records import Json, RunRecord, UnitRecord
from bench.runs.before_measuring import must_fit_journal
from bench.runs.directory import new_directory
from bench.runs.run import begin, finishing, the_machine
from bench.runs.sides import Fetch
from bench.store.files import naming
from bench.store.replay import MOST_OF_A_ROW, MOST_UNITS, Growing
from bench.store.run_lock import run_lock, sides_lock
from bench.texts import EvaluationText


@dataclass
class Work:
    """What is measured, what the journal's head says about it, and who is told how it goes.

    ``extras`` is what each unit measures besides times. With ``whole_run`` every row is first measured as in
    ``bench run``. ``earlier`` are units of an earlier gate on the same comparison, which count here too.
    """

    spec: Spec
    text: EvaluationText
    head: Json
    fetch: Fetch
    extras: UnitExtras = field(default_factory=UnitExtras)
    whole_run: bool = False
    earlier: Sequence[UnitRecord] = ()
    tell: Tell = nobody
    price: Json | None = None


@contextmanager
def holding(spec: Spec, out: Path, tell: Tell) -> Iterator[None]:
    """Hold the machine, for which this waits, then the directory ``out``, and then the commits, for which
    this waits too.

    A second gate in ``out`` that does not wait for this one, for example because it runs on the other half of
    a machine, is refused: both would continue with the same evidence.

    Raises UsageError before that for a design of which a gate has none.
    """
    _must_take_turns(spec)
    must_fit_journal(spec)
    with naming("create", out):
        out.mkdir(parents=True, exist_ok=True)
    arms = [arm for group in spec.groups for arm in group.arms]
    homes = [Path(arm.place.manifest).parent for arm in arms if arm.place.manifest is not None]
    with (
        the_machine(spec, tell),
        run_lock(out),
        sides_lock(homes, lambda text: tell(Noted(text, urgent=True))),
    ):
        yield


def _must_take_turns(spec: Spec) -> None:
    """Raise UsageError for a config whose sides run one after the other: those of a unit share the time."""
    if spec.measure.design == ABBA:
        raise UsageError(
            f"{spec.file}: measure.design: {ABBA} is for bench run; the sides of a unit of a gate take "
            f"turns ({STEPS} or {REQUESTS}) or run at the same time ({SLICES})"
        )


def measure(work: Work, out: Path) -> Path:
    """Measure all units; return the run's directory, which always holds a verdict or a reason for none."""
    with Interrupt() as interrupt:
        directory = new_directory(out, work.spec.name)
        with run_lock(directory), begin(directory, work.spec, work.text, work.head, work.price) as journal:
            spec, tell = work.spec, work.tell
            context = RunContext(
                directory, journal, tell, interrupt.check, spec.measure, spec.drift, work.text.content,
                duets=False, slo=spec.slo.limits if spec.slo else {},
            )  # fmt: skip
            with finishing(directory, journal, interrupt):
                for unit in work.earlier:
                    journal.append("unit", asdict(unit))
                so_far = Growing(directory)
                if work.whole_run and not nothing_differs(so_far.run()):
                    for group in work.spec.groups:
                        GroupRun(group, context, work.fetch, {}).run()
                _Units(work, context, so_far).run()
    return directory


class _Units:
    """Measures units of all comparisons in turn, until each is decided, has failed or has reached the cap.

    ``so_far`` reads the journal as it grows; ``open`` are the comparisons that need further units.
    """

    def __init__(self, work: Work, context: RunContext, so_far: Growing) -> None:
        self.work, self.context, self.so_far = work, context, so_far
        self._bases: set[tuple[str, str]] = set()  # the baselines that have their row
        self.open = [
            (ServedComparison if is_server(variant.runtime) else Comparison)(
                group, variant, context, work.fetch, work.head["batches_per_unit"]
            )
            for group in work.spec.groups
            for variant in group.variants
        ]

    def run(self) -> None:
        """Measure round after round, until no comparison is open."""
        while self.open and not nothing_differs(record := self.so_far.run()):
            self.open = [comparison for comparison in self.open if self._needs_more(comparison, record)]
            for comparison in list(self.open):
                self.context.pause()
                self._measure_unit(comparison, record)

    def _needs_more(self, comparison: Comparison, record: RunRecord) -> bool:
        """Return whether a comparison needs another unit, and a reader of the run would take it."""
        units = _units_so_far(comparison, record)
        if len(units) >= MOST_OF_A_ROW or len(record.units) + len(self.open) > MOST_UNITS:
            return False
        if self.work.head["mode"] == "calibration":
            valid = sum(not unit.void for unit in units)
            return valid < self.work.head["units_wanted"] and not _unfit(units)
        return _none_here(units) or comparison.key in undecided(record)

    def _measure_unit(self, comparison: Comparison, record: RunRecord) -> None:
        """Measure the next unit and write it down. The first one of this run also records the rows: the
        variant and, unless another variant's unit has done so, the baseline."""
        variant, base = comparison.variant.name, comparison.group.baseline.name
        units = _units_so_far(comparison, record)
        number, first = 1 + len(units), _none_here(units)
        row, place = first and not self.work.whole_run, (comparison.group.label, base)
        base_row = row and place not in self._bases
        share = not any(may_not_share(unit.void) for unit in units)
        extras = replace(self.work.extras, row=row, base_row=base_row, files_read=first, share=share)
        self.context.tell(Began(variant, f"unit {number}"))
        try:
            unit = comparison.measure(number, extras)
        except VariantFailed as failure:
            partner = base if base_row else ""
            self._failed(comparison, variant, failure.outcome, failure.reason, partner)
        except (BaselineDied, PeerGone) as gone:
            outcome, reason = self._of_base(comparison, gone)
            self._failed(comparison, base, outcome, reason, variant if row else "")
        else:
            self.context.journal.append("unit", asdict(unit))
            self.context.journal.sync()
            if may_not_share(unit.void):
                self.context.tell(Noted(f"unit {number} does not count: {unit.void}"))
            if row:
                self._bases.add(place)

    def _of_base(self, comparison: Comparison, gone: BaselineDied | PeerGone) -> tuple[Outcome, str]:
        """Return how the row of a base ends whose worker failed. Of commits both are tried by themselves."""
        of_commits = self.work.head["mode"] == "commits"
        group, variant = comparison.group, comparison.variant
        if of_commits and (why := broken_base(group, variant, self.context, self.work.fetch)):
            return Outcome.BROKEN_BASE, why
        return Outcome.BASELINE_FAILED, f"the baseline's worker failed ({gone})"

    def _failed(self, comparison: Comparison, name: str, outcome: Outcome, reason: str, partner: str) -> None:
        """End a comparison that cannot be measured; its rules report the reason. The row of a ``partner``
        began with this unit ('' if there is none); it has no end of its own, and says why."""
        ends = {name: (outcome, reason)}
        if partner:
            ends[partner] = (Outcome.INTERRUPTED, f"its unit ended when {name} failed")
        for arm, (status, why) in ends.items():
            about = {"group": comparison.group.label, "name": arm, "status": status, "reason": why}
            self.context.journal.append("arm", about)
        self.context.journal.sync()
        self.context.tell(Ended(name, outcome, reason))
        self.open.remove(comparison)


def _units_so_far(comparison: Comparison, record: RunRecord) -> list[UnitRecord]:
    """Return the units of a comparison in the journal, the void ones and those of earlier runs too."""
    return [unit for unit in record.units if (unit.group, unit.variant) == comparison.key]


def _none_here(units: Sequence[UnitRecord]) -> bool:
    """Return whether this run has not measured a unit yet, so that all units are from earlier runs."""
    return all(unit.from_run for unit in units)


def _unfit(units: Sequence[UnitRecord]) -> bool:
    """Return whether the machine is too busy to calibrate: of ten units or more, over half are void."""
    return len(units) >= 10 and 2 * sum(bool(unit.void) for unit in units) > len(units)
