"""``bench gate`` and ``bench calibrate``: measure fresh worker pairs until every timed limit is decided.

If a limit needs a whole run (drift, absolute figures), that is measured first, as ``bench run`` does it. Then
each comparison gets one unit per round, until the sequential test has decided or the cap is reached.
Everything goes into a journal. Verdicts are made from the journal by ``bench/gate/judge.py`` alone, so
``bench verify`` can make them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from bench.config.blocks import LimitBlock
from bench.config.served import is_server
from bench.config.spec import Spec
from bench.config.support import device_here
from bench.engine.energy import NoCounter, find
from bench.environments import identity
from bench.errors import Outcome, UsageError, VariantFailed
from bench.gate import calibration as noise
from bench.gate.judge import undecided
from bench.gate.limits import Rule, rules
from bench.gate.reach import nothing_differs
from bench.gate.sequential import SCALE_FLOOR
from bench.machine.gpus import gpu_for
from bench.measure.arm import RunContext
from bench.measure.clock import utc_now
from bench.measure.events import Began, Ended, Noted, Tell, nobody
from bench.measure.group import GroupRun
from bench.measure.interrupt import Interrupt
from bench.measure.served import ServedComparison
from bench.measure.together import BaselineDied
from bench.measure.units import Comparison, Wanted
from bench.measure.worker_process import PeerGone
from bench.metrics import energy
from bench.metrics.unit_ratios import MEMORY
from bench.models.reference import Progress
from bench.records import Json, RunRecord, UnitRecord
from bench.report.gate import beforehand
from bench.runs.directory import new_directory
from bench.runs.run import begin, evaluation_text, fetcher, finishing, price_of_spec, the_machine
from bench.runs.sides import (
    Fetch,
    against,
    conditions,
    earlier_units,
    evidence_key,
    evidence_of_commits,
    for_these_limits,
    of_commits,
    sides_of,
    strictest,
)
from bench.sides.side import Side, Sides
from bench.sides.unmeasured import LOG, Unmeasured
from bench.store.files import naming, write_atomic
from bench.store.lock import run_lock
from bench.store.replay import Growing

Say = Callable[[str, str], None]
OnProgress = Callable[[Progress], None]
CAP = 40
CALIBRATION_UNITS = 20
UNIT_BATCHES = 4


@dataclass(frozen=True)
class Plan:
    """The settings of a gate.

    ``base`` is another interpreter for the baseline's side; the same config then runs on both sides.
    ``commits`` are two commits, each with its own config; the limits are then those of the base unless
    ``limits_from`` says otherwise, and ``allow_identical`` accepts a change that does not reach what is
    measured.
    ``batches`` is the number of batches per unit: None takes the calibration's choice, or 4 without a
    calibration.
    """

    base: Path | None = None
    base_label: str = ""
    cap: int = CAP
    batches: int | None = None
    commits: Sides | None = None
    limits_from: Literal["base", "candidate"] = "base"
    allow_identical: bool = False


@dataclass
class _Work:
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


def gate_spec(
    spec: Spec,
    out: Path,
    plan: Plan,
    *,
    tell: Tell = nobody,
    on_fetch: OnProgress = lambda progress: None,
) -> Path:
    """Measure until the limits of ``spec`` are decided, and return the run's directory.

    Raises UsageError if no limit is set or another gate is running in ``out``, and BenchError if there is
    nothing to compare. A failure of a worker does not raise: the verdict reports it (exit 5).
    """
    limits = _limits(spec, plan)
    wanted = list(rules(limits))
    if not wanted:
        raise UsageError(f"{spec.file}: no limits; give a gate block, see configs/ci.yaml")
    _check_meters(wanted, spec)
    here = conditions(plan.commits.candidate.written if plan.commits else spec)
    sides, key, spec, fetch = _what_to_compare(spec, plan, on_fetch)
    if not any(group.variants for group in spec.groups):
        raise UsageError(f"{spec.file}: there is nothing to compare: give a variant, or --base")
    text = evaluation_text(spec)
    with _alone(spec, out, tell):  # what is known is read only now: a gate that came first adds to it
        calibration = for_these_limits(noise.latest(out, here, utc_now()), spec, wanted, plan.cap)
        tell(Noted(f"gate: {beforehand(calibration, strictest(wanted))}"))
        head: dict[str, Any] = {
            **sides,
            "limits": limits,
            "test": {"cap": plan.cap, **_prior_of(calibration)},
            "batches_per_unit": plan.batches or (calibration.batches if calibration else UNIT_BATCHES),
            "calibration": asdict(calibration) if calibration else None,
            "key": key,
        }
        earlier = earlier_units(out, key, limits)
        head["test"]["cap"] += max(Counter((u.group, u.variant) for u in earlier).values(), default=0)
        takes, whole = _takes(wanted, head["mode"]), _needs_run(wanted)
        price = _price(spec, plan)
        return _measure(_Work(spec, text, head, fetch, takes, whole, earlier, tell, price), out)


def unmeasured_gate(why: Unmeasured, out: Path, cap: int = CAP) -> Path:
    """Write the run of a gate on commits that can measure nothing, and return its directory.

    A CI job then has a verdict, a comment and a report as after any other gate.

    Raises ``why`` itself if there are no limits to judge by.
    """
    limits = _as_given(why.spec.gate)
    if not limits:
        raise why
    _text, about_text = evaluation_text(why.spec)
    head = {**why.head(), "limits": limits, "test": {"cap": cap}}
    directory = new_directory(out, why.spec.name)
    with (
        Interrupt() as interrupt,
        run_lock(directory),
        begin(directory, why.spec, about_text, head) as journal,
        finishing(directory, journal, interrupt),
    ):
        if why.log is not None:
            write_atomic(directory / LOG, why.log.read_text(errors="replace"))
    return directory


def _check_meters(wanted: Sequence[Rule], spec: Spec) -> None:
    """Raise UsageError for a limit on energy that would end in ERROR here: on counted energy where this
    machine has no counter, or on modelled energy where it has one, because then nothing is modelled."""
    modelled = "modelled_watts" in (yaml.safe_load(spec.expanded).get("energy") or {})
    keys = {rule.metric for rule in wanted} & {metric.key for metric in energy.METRICS}
    counted = keys & {metric.key for metric in (energy.MEASURED if modelled else energy.METRICS)}
    asked = {arm.runtime.device for group in spec.groups for arm in group.arms} if keys else set()
    devices = {device: device_here(device) for device in sorted(asked)}
    for counter in (find(kind, gpu_for(device)) for device, kind in devices.items()):
        if isinstance(counter, NoCounter) and counted:
            raise UsageError(
                f"{spec.file}: a limit on energy, which cannot be measured here: {counter.reason}"
            )
        if not isinstance(counter, NoCounter) and energy.MODELLED_PER_REQUEST.key in keys:
            raise UsageError(
                f"{spec.file}: a limit on {energy.MODELLED_PER_REQUEST.key}, but this machine counts energy "
                f"({counter.boundary}), so nothing is modelled: set the limit on {energy.PER_REQUEST.key}"
            )


def _limits(spec: Spec, plan: Plan) -> dict[str, Any]:
    """Return the limits. A base that has some is not overruled by the commit that it judges."""
    given = spec.gate
    if plan.commits and plan.limits_from == "base":
        given = plan.commits.base.spec.gate or spec.gate
    return _as_given(given)


def _as_given(limits: Sequence[tuple[str, LimitBlock]]) -> dict[str, Any]:
    """Return limits as the head of a journal has them."""
    return {key: limit.model_dump(exclude_none=True) for key, limit in limits}


def _price(spec: Spec, plan: Plan) -> Json | None:
    """Return the price of a gate on commits, by the price files of the side whose limits count."""
    if plan.commits is None:
        return None
    with chdir((plan.commits.base if plan.limits_from == "base" else plan.commits.candidate).directory):
        return price_of_spec(spec)


def _what_to_compare(spec: Spec, plan: Plan, on_fetch: OnProgress) -> tuple[Json, str, Spec, Fetch]:
    """Return what the head says of the sides, the key of their evidence, the config with its groups, and the
    function that fetches its models."""
    if plan.commits is None:
        sides = {"base": identity(plan.base, plan.base_label), "candidate": identity(None)}
        spec = replace(spec, groups=sides_of(spec, plan.base))
        fetch = fetcher(spec, on_fetch)
        head = {
            "mode": "code" if plan.base else "config",
            "sides": {side: asdict(who) for side, who in sides.items()},
        }
        return head, evidence_key(spec, sides, fetch), spec, fetch
    groups, new, gone = of_commits(plan.commits)
    if not groups:
        raise UsageError(f"{spec.file}: no row of the candidate is in the base ({', '.join(new)})")
    spec = replace(spec, groups=groups)
    if plan.limits_from == "base":  # what a limit is judged by is the base's, as the limit is
        theirs = plan.commits.base.spec
        spec = replace(spec, price=theirs.price, drift=theirs.drift, measure=theirs.measure)
    fetch = fetcher(spec, on_fetch)
    about: Json = {
        "mode": "commits",
        "sides": {"base": plan.commits.base.to_json(), "candidate": plan.commits.candidate.to_json()},
        "differences": plan.commits.to_json(),
        "not_compared": sorted(new + gone),
        "gone": gone,
        "allow_identical": plan.allow_identical,
        "base_price": _base_price(plan.commits.base) if plan.limits_from == "candidate" else None,
    }
    return about, evidence_of_commits(plan.commits, groups, fetch), spec, fetch


def _base_price(base: Side) -> Json:
    """Return the price of the base by its own price files."""
    with chdir(base.directory):
        return price_of_spec(base.spec)


def _prior_of(calibration: noise.Calibration | None) -> dict[str, float]:
    return {"prior_sd": max(calibration.unit_sd, SCALE_FLOOR)} if calibration else {}


def calibrate_spec(
    spec: Spec,
    out: Path,
    *,
    units: int = CALIBRATION_UNITS,
    batches: int | None = None,
    base: Path | None = None,
    tell: Tell = nobody,
    on_fetch: OnProgress = lambda progress: None,
    written: Spec | None = None,
) -> Path:
    """Run an A/A test: the baseline's config on both sides, ``units`` times. ``base`` is the interpreter of
    one side. ``written`` is the config as it stands in its commit, if ``spec`` runs in the environment of a
    commit: a gate on any commits with these rows then finds the calibration."""
    group = spec.groups[0]
    spec = replace(spec, groups=(against(group.label, group, base),))
    head = {
        "mode": "calibration",
        "conditions": conditions(written or spec),
        "batches_per_unit": batches or UNIT_BATCHES,
        "units_wanted": units,
    }
    fetch, text = fetcher(spec, on_fetch), evaluation_text(spec)
    with _alone(spec, out, tell):
        return _measure(_Work(spec, text, head, fetch, Wanted(counters=True), tell=tell), out)


def _takes(wanted: Sequence[Rule], mode: str) -> Wanted:
    return Wanted(
        counters=mode in ("code", "commits") or any(rule.kind == "exact" for rule in wanted),
        memory=any(rule.metric in MEMORY for rule in wanted),
    )


def _needs_run(wanted: Sequence[Rule]) -> bool:
    return any(rule.kind == "interval" for rule in wanted)


# ---- measuring -----------------------------------------------------------------------------------


@contextmanager
def _alone(spec: Spec, out: Path, tell: Tell) -> Iterator[None]:
    """Wait for the machine, then hold ``out``. A second gate in ``out`` that does not wait for this one, for
    example on the other half of a machine, is refused: both would continue with the same evidence."""
    with naming("create", out):
        out.mkdir(parents=True, exist_ok=True)
    with the_machine(spec, tell), run_lock(out):
        yield


def _measure(work: _Work, out: Path) -> Path:
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
                        GroupRun(group, tools, work.fetch, set()).run()
                _Units(work, tools, so_far).run()
    return directory


class _Units:
    """Measures units of all comparisons in turn, until each is decided, has failed or has reached the cap."""

    def __init__(self, work: _Work, tools: RunContext, so_far: Growing) -> None:
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
