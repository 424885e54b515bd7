"""Find out what a gate compares, on which conditions that depends, and which earlier evidence counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.config.inputs import inputs_of
from bench.config.served import is_load
from bench.config.settings import RuntimeBlock
from bench.config.spec import Arm, Group, Spec
from bench.environments import Identity, identity, interpreter
from bench.errors import BenchError, UsageError
from bench.formatting import row_title
from bench.gate import calibration as noise
from bench.gate.cascade_metrics import of_cascades
from bench.gate.findings import GateVerdict
from bench.gate.judge import CANDIDATE
from bench.gate.limits import Rule, timed_cells
from bench.gate.power import smallest_detectable
from bench.gate.sequential import SCALE_FLOOR, Test, least_cap
from bench.machine.fingerprint import fingerprint
from bench.measure.asked import prompts_of
from bench.measure.models import models_by_key
from bench.models.disk_cache import directory_digest, file_sha256
from bench.models.reference import LocalModel, ModelRef
from bench.records import Json, UnitRecord
from bench.results.summarise import summarise
from bench.serving.engines import ADAPTERS
from bench.serving.environments import interpreter_apart
from bench.sides.differences import NOT_MEASURED
from bench.sides.side import Sides
from bench.store.files import canonical_json, digest
from bench.store.replay import MOST_OF_A_ROW, MOST_UNITS, Head, judging, load_record

BASE = "base"
Fetch = Callable[[ModelRef], LocalModel]


def sides_of(spec: Spec, base: Path | None) -> tuple[Group, ...]:
    """Return the groups to compare: each baseline with its variants or, with another interpreter ``base``,
    each arm with itself in that interpreter."""
    if base is None:
        _no_relative_limit_on_cascades(spec)
        return spec.groups
    return tuple(
        against(row_title(group.label, arm.name), Group(group.label, arm, ()), base)
        for group in spec.groups
        for arm in group.arms
    )


def _no_relative_limit_on_cascades(spec: Spec) -> None:
    """Raise UsageError for a limit that is relative to a figure of a cascade: within a config the baseline is
    none, and only in another commit or interpreter each cascade is compared with itself."""
    for key, limit in spec.gate:
        if key in of_cascades() and (limit.max_increase is not None or limit.max_decrease is not None):
            raise UsageError(
                f"{spec.file}: gate.{key}: the baseline is no cascade, so nothing can be relative to its "
                "figure; use max or min, or compare with --base"
            )


def against(label: str, group: Group, base: Path | None) -> Group:
    """Compare a group's baseline with itself; ``base`` is the interpreter of the baseline's side."""
    arm = group.baseline
    runtime = arm.runtime.model_copy(update={"python": str(base)}) if base else arm.runtime
    baseline = replace(arm, name=BASE, is_baseline=True, runtime=runtime)
    return Group(label, baseline, (replace(arm, name=CANDIDATE, is_baseline=False),))


def of_commits(sides: Sides) -> tuple[tuple[Group, ...], list[str], list[str]]:
    """Return the groups that compare each row with itself at the base, the rows that only the candidate has,
    and those that only the base has."""
    of_candidate, of_base = (
        {
            row_title(group.label, arm.name): (group.label, arm)
            for group in side.spec.groups
            for arm in group.arms
        }
        for side in (sides.candidate, sides.base)
    )
    groups = [
        Group(
            title,
            replace(of_base[title][1], name=BASE, is_baseline=True),
            (replace(arm, name=CANDIDATE, is_baseline=False),),
        )
        for title, (_label, arm) in of_candidate.items()
        if title in of_base
    ]
    return (
        tuple(groups),
        sorted(of_candidate.keys() - of_base.keys()),
        sorted(of_base.keys() - of_candidate.keys()),
    )


def conditions(spec: Spec) -> Json:
    """Return the conditions that a calibration is valid for: this machine, engine, model and workload."""
    arm = spec.groups[0].baseline
    return {
        "machine": fingerprint(),
        "model": repr(arm.model),
        "runtime": {key: value for key, value in arm.runtime.to_json().items() if key != "python"},
        "workload": arm.workload.to_json(),
    }


def evidence_of_commits(sides: Sides, groups: Sequence[Group], design: str, fetch: Fetch) -> str:
    """Return the key of a comparison of commits. It covers the files of both commits, what their builds made,
    the rows with their weights and the files that they read, and this machine. Another message makes another
    commit, but the same key.

    Neither limits nor names are part of it, so the same units also serve to judge another limit. The design
    is: who asks for turns is not judged by sides that ran at the same time.
    """
    arms = [arm for group in groups for arm in group.arms]
    weights = _weights(arms, fetch)
    asked = canonical_json([[group.label, [_asked_of(arm) for arm in group.arms]] for group in groups])
    for side in (sides.base, sides.candidate):  # the directory of a side does not change what it asks for
        asked = asked.replace(str(side.built.home), "")
    code = [[side.commit.tree, side.built.content] for side in (sides.base, sides.candidate)]
    read = _read_by_rows(replace(sides.candidate.spec, groups=tuple(groups)))
    return digest([fingerprint(), code, asked, design, weights, read])


def _asked_of(arm: Arm) -> list[object]:
    """Return all that an arm asks for, with the prompts themselves instead of the name of their file."""
    prompts = [] if is_load(arm.workload) else [asdict(prompt) for prompt in prompts_of(arm)]
    return [arm.runtime.to_json(), arm.workload.to_json(), [step.label for step in arm.optimise], prompts]


def evidence_key(spec: Spec, sides: Mapping[str, Identity], fetch: Fetch) -> str:
    """Return the key of a comparison, with which a second gate finds the evidence of the first one.

    The key covers what is measured, the weights, the files that rows read, the machine, and the code in every
    interpreter that takes part. Neither limits nor names are part of it, but the design is (see above).
    """
    measured = {key: value for key, value in spec.content.items() if key not in NOT_MEASURED}
    arms = [arm for group in spec.groups for arm in group.arms]
    named = {_interpreter(arm.runtime) for arm in arms} - {None}
    everyone = [*sides.values(), *(identity(python) for python in sorted(filter(None, named)))]
    code = [(side.python, side.packages_sha256, side.sources_sha256) for side in everyone]
    weights = _weights(arms, fetch)
    return digest([measured, spec.measure.design, fingerprint(), code, weights, _read_by_rows(spec)])


def _interpreter(runtime: RuntimeBlock) -> Path | None:
    """Return the Python that runs an engine or starts a server; None if it is this one or none."""
    if runtime.python is None and runtime.name in ADAPTERS:
        return interpreter_apart(ADAPTERS[runtime.name])
    return interpreter(runtime.name, runtime.python)


def _weights(arms: Sequence[Arm], fetch: Fetch) -> list[tuple[str, str]]:
    """Return (key, digest of all its files) of every model that the arms load, such as one that drafts."""
    return [(key, directory_digest(fetch(model).files)) for arm in arms for key, model in models_by_key(arm)]


def _read_by_rows(spec: Spec) -> list[tuple[str, str, str]]:
    """Return (row, key, SHA-256) of every file that a row of a config names, such as its prompts. What is
    read for drift is no part of a unit."""
    return [(one.row, one.key, file_sha256(one.path)) for one in inputs_of(spec) if one.row]


def strictest(wanted: Sequence[Rule]) -> float | None:
    """Return the smallest margin of the timed limits, as a share."""
    return min((rule.bound for rule in wanted if rule.kind == "timed"), default=None)


def for_these_limits(
    calibration: noise.Calibration | None, spec: Spec, wanted: Sequence[Rule], cap: int
) -> noise.Calibration | None:
    """Return the calibration with ``detectable`` for these limits and this cap: the smallest change that the
    strictest of the limits can find."""
    timed = [rule for rule in wanted if rule.kind == "timed"]
    if calibration is None or not timed:
        return calibration
    cells = timed_cells(wanted, _comparisons(spec))
    margin = min(rule.margin for rule in timed)
    test = Test(margin, cells=cells, cap=cap, prior_sd=max(calibration.unit_sd, SCALE_FLOOR))
    return replace(calibration, cap=cap, detectable=smallest_detectable(calibration.unit_sd, test))


def cannot_fail(cap: int, wanted: Sequence[Rule], spec: Spec) -> str | None:
    """Return a sentence if so few units cannot prove any timed limit broken, and None if they can."""
    cells = timed_cells(wanted, _comparisons(spec))
    if not cells or cap >= least_cap(cells):
        return None
    return (
        f"{cap} units cannot prove a limit on a time broken: one of {cells} (limits × rows) needs "
        f"{least_cap(cells)} or more, so give --cap {least_cap(cells)}"
    )


def _comparisons(spec: Spec) -> int:
    """Return how many rows are held against their baseline."""
    return sum(len(group.variants) for group in spec.groups)


def earlier_units(runs: Iterable[Head], key: str, limits: Json) -> list[UnitRecord]:
    """Return the units of the last gate on the same comparison, unless it passed the same limits. ``runs``
    are the heads of all runs in the directory, the newest first.

    To continue with old evidence is valid, even with other limits. To start again until it passes is not.
    Raises UsageError if there are as many units as a run may have.
    """
    for directory, head in runs:
        if (head.get("gate") or {}).get("key") != key:
            continue
        try:
            record = load_record(directory)
            with judging(directory):
                gate = summarise(record).gate
        except BenchError:  # a damaged journal is no evidence; `bench verify` says what is wrong with it
            continue
        passed = gate is not None and gate.verdict == GateVerdict.PASS
        if passed and (record.gate or {}).get("limits") == limits:
            return []
        _must_leave_room(directory, record.units)
        return [replace(unit, from_run=unit.from_run or record.run_id) for unit in record.units]
    return []


def _must_leave_room(directory: Path, units: Sequence[UnitRecord]) -> None:
    """Raise UsageError if no reader would take another unit of the same comparison."""
    most = max(Counter((unit.group, unit.variant) for unit in units).values(), default=0)
    if most >= MOST_OF_A_ROW or len(units) >= MOST_UNITS:
        raise UsageError(
            f"{directory} has {most} units of a row, {len(units)} of all, with those of earlier gates: "
            "no run has more, so no gate goes on with it; another --out begins anew"
        )
