"""``bench gate`` and ``bench calibrate``: units of fresh worker pairs until every timed limit is decided.

The stages: what a limit needs of a whole run (drift, absolute figures) is measured first, as ``bench run``
does it; then units, one comparison after the other in turn, until the sequential test has decided or the cap
is reached. Everything goes into a journal; verdicts are made from it by ``bench/gate/judge.py`` alone, so
``bench verify`` makes them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.environments import Identity, identity
from bench.errors import Outcome, UsageError, VariantFailed
from bench.gate import noise
from bench.gate.judge import undecided
from bench.gate.limits import Rule, rules
from bench.gate.sequential import SCALE_FLOOR
from bench.machine.fingerprint import fingerprint
from bench.measure.arm import Bench
from bench.measure.clock import utc_now
from bench.measure.group import GroupRun
from bench.measure.interrupt import Interrupt
from bench.measure.together import BaselineDied
from bench.measure.units import Comparison, Wanted
from bench.measure.worker_process import PeerGone
from bench.metrics.summary import summarise
from bench.metrics.unit_ratios import MEMORY
from bench.models.reference import LocalModel, ModelRef, Progress
from bench.records import RunRecord, UnitRecord
from bench.run import begin, evaluation_text, fetcher, finishing, new_directory
from bench.spec import Group, Spec
from bench.store.files import digest
from bench.store.lock import run_lock
from bench.store.replay import load_record, newest_first

Say = Callable[[str, str], None]
OnProgress = Callable[[Progress], None]
CAP = 40
CALIBRATION_UNITS = 20
UNIT_BATCHES = 4


@dataclass(frozen=True)
class Plan:
    """How a gate goes about it. ``base`` is another interpreter for the baseline's side; the same config then
    runs on both sides. ``batches`` a unit decodes: None takes the calibration's choice, or else 4."""

    base: Path | None = None
    base_label: str = ""
    cap: int = CAP
    batches: int | None = None


@dataclass
class _Work:
    """What is measured, what the journal's head says of it, and who is told."""

    spec: Spec
    head: dict[str, Any]
    takes: Wanted = field(default_factory=Wanted)
    whole_run: bool = False
    earlier: Sequence[UnitRecord] = ()
    say: Say = lambda who, what: None
    on_fetch: OnProgress = lambda progress: None


def gate_spec(
    spec: Spec,
    out: Path,
    plan: Plan,
    *,
    say: Say = lambda who, what: None,
    on_fetch: OnProgress = lambda progress: None,
) -> Path:
    """Measure until the limits of ``spec`` are decided; returns the run's directory.

    Raises UsageError where there is nothing to gate. Failures of a worker end in the verdict (exit 5).
    """
    limits = {key: limit.model_dump(exclude_none=True) for key, limit in spec.gate}
    wanted = list(rules(limits))
    spec = replace(spec, groups=_sides(spec, plan.base))
    if not wanted:
        raise UsageError(f"{spec.file}: no limits; give a gate block, see configs/ci.yaml")
    if not any(group.variants for group in spec.groups):
        raise UsageError(f"{spec.file}: nothing to compare; give a variant, or --base for the same config")
    calibration = noise.latest(out, conditions(spec), utc_now())
    batches = plan.batches or (calibration.batches if calibration else UNIT_BATCHES)
    sides = {"base": identity(plan.base, plan.base_label), "candidate": identity(None)}
    head: dict[str, Any] = {
        "mode": "code" if plan.base else "config",
        "limits": limits,
        "test": {
            "cap": plan.cap,
            **({"prior_sd": max(calibration.unit_sd, SCALE_FLOOR)} if calibration else {}),
        },
        "batches_per_unit": batches,
        "sides": {side: asdict(who) for side, who in sides.items()},
        "calibration": asdict(calibration) if calibration else None,
        "key": _key(spec, sides, batches),
    }
    earlier = _earlier_units(out, head["key"])
    head["test"]["cap"] += max(Counter((u.group, u.variant) for u in earlier).values(), default=0)
    work = _Work(spec, head, _takes(wanted, head["mode"]), _needs_run(wanted), earlier, say, on_fetch)
    return _measure(work, out)


def calibrate_spec(
    spec: Spec,
    out: Path,
    *,
    units: int = CALIBRATION_UNITS,
    batches: int | None = None,
    base: Path | None = None,
    say: Say = lambda who, what: None,
    on_fetch: OnProgress = lambda progress: None,
) -> Path:
    """A/A: the baseline's config on both sides, ``units`` times; ``base`` installs one of them."""
    group = spec.groups[0]
    spec = replace(spec, groups=(_against(group.label, group, base),))
    head = {
        "mode": "calibration",
        "conditions": conditions(spec),
        "batches_per_unit": batches or UNIT_BATCHES,
        "units_wanted": units,
    }
    return _measure(_Work(spec, head, Wanted(counters=True), say=say, on_fetch=on_fetch), out)


# ---- what is compared with what ------------------------------------------------------------------


def _sides(spec: Spec, base: Path | None) -> tuple[Group, ...]:
    """A group's baseline against its variants; with ``base`` every arm against itself over there."""
    if base is None:
        return spec.groups
    return tuple(
        _against(" ".join(filter(None, (group.label, arm.name))), Group(group.label, arm, ()), base)
        for group in spec.groups
        for arm in group.arms
    )


def _against(label: str, group: Group, base: Path | None) -> Group:
    """The group's baseline against itself; ``base`` is the interpreter of the baseline's side."""
    arm = group.baseline
    runtime = arm.runtime.model_copy(update={"python": str(base)}) if base else arm.runtime
    ours = replace(arm, name="base", is_baseline=True, runtime=runtime)
    return Group(label, ours, (replace(arm, name="candidate", is_baseline=False),))


def conditions(spec: Spec) -> dict[str, Any]:
    """What a calibration holds for: this machine, this engine, this load."""
    arm = spec.groups[0].baseline
    return {
        "machine": fingerprint(),
        "model": repr(arm.model),
        "runtime": arm.runtime.model_dump(exclude={"python"}),
        "workload": arm.workload.model_dump(),
    }


def _key(spec: Spec, sides: Mapping[str, Identity], batches: int) -> str:
    """The same comparison has the same key, so a second gate on it goes on with the first one's evidence."""
    parts = [(who.python, who.packages_sha256, who.sources_sha256) for who in sides.values()]
    return digest([spec.digest, fingerprint(), parts, batches])


def _takes(wanted: Sequence[Rule], mode: str) -> Wanted:
    return Wanted(
        counters=mode == "code" or any(rule.kind == "exact" for rule in wanted),
        memory=any(rule.metric in MEMORY for rule in wanted),
    )


def _needs_run(wanted: Sequence[Rule]) -> bool:
    return any(rule.kind == "interval" for rule in wanted)


def _earlier_units(out: Path, key: str) -> list[UnitRecord]:
    """The units of the last gate on the same comparison, unless it passed: going on with the evidence is
    valid, starting afresh until it is green is not."""
    for directory, head in newest_first(out):
        if (head.get("gate") or {}).get("key") != key:
            continue
        record = load_record(directory)
        verdict = (summarise(record)["gate"] or {}).get("verdict")
        if verdict == "PASS":
            return []
        return [replace(unit, from_run=unit.from_run or record.run_id) for unit in record.units]
    return []


# ---- measuring -----------------------------------------------------------------------------------


def _measure(work: _Work, out: Path) -> Path:
    """The directory holds a verdict, or the reason why there is none, in any case."""
    fetch = fetcher(work.spec, work.on_fetch)
    text, about_text = evaluation_text(work.spec)
    directory = new_directory(out, work.spec.name)
    with (
        run_lock(directory),
        Interrupt() as interrupt,
        begin(directory, work.spec, about_text, work.head) as journal,
    ):
        tools = Bench(
            directory,
            journal,
            work.say,
            interrupt.check,
            work.spec.measure,
            work.spec.drift,
            text,
            duets=False,
        )
        with finishing(directory, journal):
            for unit in work.earlier:
                journal.append("unit", asdict(unit))
            if work.whole_run:
                for group in work.spec.groups:
                    GroupRun(group, tools, fetch, set()).run()
            _Units(work, tools, fetch).run()
    return directory


class _Units:
    """Units of every comparison in turn, until each is decided, has failed or has reached the cap."""

    def __init__(self, work: _Work, tools: Bench, fetch: Callable[[ModelRef], LocalModel]) -> None:
        self.work, self.tools = work, tools
        self.open = [
            Comparison(group, variant, tools, fetch, work.head["batches_per_unit"])
            for group in work.spec.groups
            for variant in group.variants
        ]

    def run(self) -> None:
        """One round after the other."""
        while self.open:
            record = load_record(self.tools.directory)
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
        self.tools.say(variant, f"unit {number}")
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
        """A comparison that cannot be measured ends; its rules say why."""
        group = comparison.group.label
        self.tools.journal.append("arm", {"group": group, "name": name, "status": outcome, "reason": reason})
        self.tools.journal.sync()
        self.tools.say(name, f"{outcome}: {reason}")
        self.open.remove(comparison)


def _none_here(units: Sequence[UnitRecord]) -> bool:
    """Whether this run has not measured a unit yet: all there are were taken over from earlier ones."""
    return all(unit.from_run for unit in units)


def _unfit(units: Sequence[UnitRecord]) -> bool:
    return len(units) >= 10 and 2 * sum(bool(unit.void) for unit in units) > len(units)
