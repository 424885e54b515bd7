"""``bench gate`` and ``bench calibrate``: measure fresh worker pairs until every timed limit is decided.

If a limit needs a whole run (drift, absolute figures), that is measured first, as ``bench run`` does it. Then
each comparison gets one unit per round, until the sequential test has decided or the cap is reached.
Everything goes into a journal. Verdicts are made from the journal by ``bench/gate/judge.py`` alone, so
``bench verify`` can make them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, Literal

from bench.config.settings import LimitBlock
from bench.config.spec import Spec
from bench.environments import identity
from bench.errors import UsageError
from bench.gate import DEFAULT_CAP
from bench.gate import calibration as noise
from bench.gate.limits import Rule, rules
from bench.gate.sequential import SCALE_FLOOR, STAKE
from bench.measure.clock import utc_now
from bench.measure.events import Noted, Tell, nobody
from bench.measure.interrupt import Interrupt
from bench.measure.units import UnitExtras
from bench.metrics.unit_ratios import MEMORY
from bench.records import Json
from bench.report.gate import beforehand
from bench.runs.before_measuring import price_of_spec
from bench.runs.directory import new_directory
from bench.runs.fetching import OnProgress, fetcher
from bench.runs.gate_price import at_base_prices, charged_threads, of_both, price_at
from bench.runs.meters import check_meters
from bench.runs.run import begin, evaluation_text, finishing
from bench.runs.sides import (
    Fetch,
    against,
    cannot_fail,
    conditions,
    earlier_units,
    evidence_key,
    evidence_of_commits,
    for_these_limits,
    of_commits,
    sides_of,
    strictest,
)
from bench.runs.units import Work, holding, measure
from bench.sides.ended_early import LOG, Unmeasured
from bench.sides.side import Side, Sides
from bench.store.files import write_atomic
from bench.store.replay import newest_first
from bench.store.run_lock import run_lock

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
    cap: int = DEFAULT_CAP
    batches: int | None = None
    commits: Sides | None = None
    limits_from: Literal["base", "candidate"] = "base"
    allow_identical: bool = False


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
    spec = _as_judged(spec, plan)
    limits = _limits(spec)
    wanted = list(rules(limits))
    check_meters(wanted, spec)
    here = conditions(plan.commits.candidate.written if plan.commits else spec)
    sides, key, spec, fetch, price = _what_to_compare(spec, plan, on_fetch)
    if not any(group.variants for group in spec.groups):
        raise UsageError(f"{spec.file}: there is nothing to compare: give a variant, or --base")
    text = evaluation_text(spec)
    with holding(spec, out, tell):  # earlier gates are read only now: this may have waited for one to end
        known, also_known = tee(newest_first(out))  # heads are read once each, and only as far as needed
        calibration = for_these_limits(noise.latest(known, here, utc_now()), spec, wanted, plan.cap)
        earlier = earlier_units(also_known, key, limits)
        cap = plan.cap + max(Counter((u.group, u.variant) for u in earlier).values(), default=0)
        prior = {"prior_sd": max(calibration.unit_sd, SCALE_FLOOR)} if calibration else {}
        head: dict[str, Any] = {
            **sides,
            "limits": limits,
            "test": {"cap": cap, "stake": STAKE, **prior},
            "batches_per_unit": plan.batches or (calibration.batches if calibration else UNIT_BATCHES),
            "calibration": asdict(calibration) if calibration else None,
            "key": key,
        }
        hopeless = cannot_fail(cap, wanted, spec)
        tell(Noted(f"gate: {hopeless or beforehand(calibration, strictest(wanted))}"))
        extras, whole_run = _extras(wanted, head["mode"]), any(rule.needs_rows for rule in wanted)
        return measure(Work(spec, text, head, fetch, extras, whole_run, earlier, tell, price), out)


def unmeasured_gate(why: Unmeasured, out: Path, cap: int = DEFAULT_CAP) -> Path:
    """Write the run of a gate on commits that can measure nothing, and return its directory.

    With it a CI job has a verdict, a comment and a report, as after any other gate. Raises ``why`` itself if
    there are no limits to judge by.
    """
    limits = _as_given(why.spec.gate)
    if not limits:
        raise why
    text = evaluation_text(why.spec)
    head = {**why.head(), "limits": limits, "test": {"cap": cap, "stake": STAKE}}
    with why.standing():
        price = price_of_spec(why.spec)
    directory = new_directory(out, why.spec.name)
    with (
        Interrupt() as interrupt,
        run_lock(directory),
        begin(directory, why.spec, text, head, price) as journal,
        finishing(directory, journal, interrupt),
    ):
        if why.log is not None:
            write_atomic(directory / LOG, why.log.read_text(errors="replace"))
    return directory


def _as_judged(spec: Spec, plan: Plan) -> Spec:
    """Return the config with the blocks that rows are judged by from the base, if its limits count."""
    if plan.commits is None or plan.limits_from == "candidate":
        return spec
    return spec.judged_as(plan.commits.base.spec)


def _limits(spec: Spec) -> dict[str, Any]:
    """Return the limits to judge by. Raises UsageError if there are none."""
    if spec.gate:
        return _as_given(spec.gate)
    raise UsageError(f"{spec.file}: no limits; give a gate block, see configs/ci.yaml")


def _as_given(limits: Sequence[tuple[str, LimitBlock]]) -> dict[str, Any]:
    """Return the limits as the head of a journal keeps them."""
    return {key: limit.model_dump(exclude_none=True) for key, limit in limits}


Compared = tuple[Json, str, Spec, Fetch, Json | None]


def _what_to_compare(spec: Spec, plan: Plan, on_fetch: OnProgress) -> Compared:
    """Return what the journal's head says of the sides, the key of their evidence, the config with the groups
    to compare, the function that fetches its models, and the price that both sides are charged (None for that
    of the config)."""
    if plan.commits is not None:
        return _two_commits(spec, plan.commits, plan, on_fetch)
    here = identity(None)
    sides = {"base": identity(plan.base, plan.base_label) if plan.base else here, "candidate": here}
    spec = replace(spec, groups=sides_of(spec, plan.base))
    fetch = fetcher(spec, on_fetch)
    head = {
        "mode": "code" if plan.base else "config",
        "sides": {side: asdict(who) for side, who in sides.items()},
    }
    return head, evidence_key(spec, sides, fetch), spec, fetch, None


def _two_commits(spec: Spec, commits: Sides, plan: Plan, on_fetch: OnProgress) -> Compared:
    """Do the same as ``_what_to_compare`` for two commits."""
    groups, new, gone = of_commits(commits)
    if not groups:
        raise UsageError(f"{spec.file}: no row of the candidate is in the base ({', '.join(new)})")
    own_prices = plan.limits_from == "candidate"
    groups = groups if own_prices else at_base_prices(groups)
    spec, base = replace(spec, groups=groups), commits.base
    fetch = fetcher(spec, on_fetch)
    price, of_base = of_both(commits, groups, plan.limits_from)
    about: Json = {
        "mode": "commits",
        "sides": {"base": base.to_json(), "candidate": commits.candidate.to_json()},
        "differences": commits.to_json(),
        "not_compared": sorted(new + gone),
        "gone": gone,
        "allow_identical": plan.allow_identical,
        "base_price": of_base,
        "charged_threads": {} if own_prices else charged_threads(groups),
    }
    return about, evidence_of_commits(commits, groups, spec.measure.design, fetch), spec, fetch, price


def calibrate_spec(
    spec: Spec,
    out: Path,
    *,
    units: int = CALIBRATION_UNITS,
    batches: int | None = None,
    base: Path | None = None,
    tell: Tell = nobody,
    on_fetch: OnProgress = lambda progress: None,
    side: Side | None = None,
) -> Path:
    """Run an A/A test: ``units`` pairs with the baseline's config on both sides. ``base`` is another
    interpreter for one side. ``side`` is given if ``spec`` runs in the environment of a commit: a gate on any
    commits with these rows then finds the calibration."""
    group = spec.groups[0]
    spec = replace(spec, groups=(against(group.label, group, base),))
    head = {
        "mode": "calibration",
        "conditions": conditions(spec if side is None else side.written),
        "batches_per_unit": batches or UNIT_BATCHES,
        "units_wanted": units,
        "test": {"stake": STAKE},
    }
    fetch, text = fetcher(spec, on_fetch), evaluation_text(spec)
    price = None if side is None else price_at(side, spec)
    with holding(spec, out, tell):
        return measure(Work(spec, text, head, fetch, UnitExtras(counters=True), tell=tell, price=price), out)


def _extras(wanted: Sequence[Rule], mode: str) -> UnitExtras:
    """Return what each unit measures besides times, so that all rules can be judged."""
    return UnitExtras(
        counters=mode in ("code", "commits") or any(rule.kind == "exact" for rule in wanted),
        memory=any(rule.metric in MEMORY for rule in wanted),
    )
