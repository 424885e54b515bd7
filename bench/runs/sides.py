"""What a gate compares, the conditions it depends on, and the evidence it already has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.config.spec import Group, Spec
from bench.environments import Identity, identity, interpreter
from bench.formatting import row_title
from bench.gate import calibration as noise
from bench.gate.finding import GateVerdict
from bench.gate.limits import Rule
from bench.gate.power import smallest_detectable
from bench.gate.sequential import SCALE_FLOOR, Test
from bench.machine.fingerprint import fingerprint
from bench.models.reference import LocalModel, ModelRef
from bench.records import UnitRecord
from bench.results.summary import summarise
from bench.store.files import digest
from bench.store.replay import load_record, newest_first

Fetch = Callable[[ModelRef], LocalModel]


def sides_of(spec: Spec, base: Path | None) -> tuple[Group, ...]:
    """Return the groups to compare: each baseline against its variants. With ``base``, each arm is compared
    with itself in that interpreter."""
    if base is None:
        return spec.groups
    return tuple(
        against(row_title(group.label, arm.name), Group(group.label, arm, ()), base)
        for group in spec.groups
        for arm in group.arms
    )


def against(label: str, group: Group, base: Path | None) -> Group:
    """Compare a group's baseline with itself; ``base`` is the interpreter of the baseline's side."""
    arm = group.baseline
    runtime = arm.runtime.model_copy(update={"python": str(base)}) if base else arm.runtime
    ours = replace(arm, name="base", is_baseline=True, runtime=runtime)
    return Group(label, ours, (replace(arm, name="candidate", is_baseline=False),))


def conditions(spec: Spec) -> dict[str, Any]:
    """Return the conditions that a calibration is valid for: this machine, engine, model and workload."""
    arm = spec.groups[0].baseline
    return {
        "machine": fingerprint(),
        "model": repr(arm.model),
        "runtime": arm.runtime.model_dump(exclude={"python"}),
        "workload": arm.workload.to_json(),
    }


def evidence_key(spec: Spec, sides: Mapping[str, Identity], batches: int, fetch: Fetch) -> str:
    """Return a key that is the same for the same comparison. With it a second gate continues with the first
    gate's evidence. The key covers the config, the weights, the machine, and the code in every interpreter
    that takes part."""
    arms = [arm for group in spec.groups for arm in group.arms]
    named = {interpreter(arm.runtime.name, arm.runtime.python) for arm in arms} - {None}
    everyone = [*sides.values(), *(identity(python) for python in sorted(filter(None, named)))]
    code = [(who.python, who.packages_sha256, who.sources_sha256) for who in everyone]
    weights = [fetch(arm.model).source.weights_sha256 for arm in arms]
    return digest([spec.digest, fingerprint(), code, weights, batches])


def strictest(wanted: Sequence[Rule]) -> float | None:
    """Return the smallest margin of the timed limits, as a share."""
    return min((rule.bound for rule in wanted if rule.kind == "timed"), default=None)


def for_these_limits(
    calibration: noise.Calibration | None, spec: Spec, wanted: Sequence[Rule], cap: int
) -> noise.Calibration | None:
    """Return the calibration, with the smallest change that these limits can detect within this cap. The
    strictest limit decides that."""
    timed = [rule for rule in wanted if rule.kind == "timed"]
    if calibration is None or not timed:
        return calibration
    cells = len(timed) * sum(len(group.variants) for group in spec.groups)
    margin = min(rule.margin for rule in timed)
    test = Test(margin, cells=cells, cap=cap, prior_sd=max(calibration.unit_sd, SCALE_FLOOR))
    return replace(calibration, cap=cap, detectable=smallest_detectable(calibration.unit_sd, test))


def earlier_units(out: Path, key: str) -> list[UnitRecord]:
    """Return the units of the last gate on the same comparison, unless it passed. Continuing with old
    evidence is valid; starting again until the gate passes is not."""
    for directory, head in newest_first(out):
        if (head.get("gate") or {}).get("key") != key:
            continue
        record = load_record(directory)
        gate = summarise(record).gate
        if gate is not None and gate.verdict == GateVerdict.PASS:
            return []
        return [replace(unit, from_run=unit.from_run or record.run_id) for unit in record.units]
    return []
