"""Make ``run.json``, which has all that is needed to judge a run without measuring again, from its
journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import IntegrityError, Outcome
from bench.formatting import row_title
from bench.gate.calibration import calibration_of
from bench.gate.judge import judge
from bench.gate.reach import nothing_differs
from bench.metrics import cost, drift_keys, families, one_off, output_drift
from bench.metrics.comparisons import Comparison, compare_all
from bench.pricing.reprice import misfit
from bench.records import ArmRecord, RunRecord
from bench.records.grid import warning
from bench.results.row import Evidence, Row, WarmUpFound
from bench.results.run_summary import Json, RunStatus, RunSummary
from bench.stats.figure import Figures
from bench.stats.intervals import Interval
from bench.stats.verdict import Design
from bench.store.files import strict_json
from bench.store.replay import JOURNAL, load_record

RUN_JSON = "run.json"
NOT_A_FAILURE = (Outcome.OK, Outcome.UNSUPPORTED)


def summarise(run: RunRecord) -> RunSummary:
    """Make the content of ``run.json``. This is a pure function: the same journal gives the same bytes."""
    comparisons = compare_all(run)
    rows = tuple(_row(run, arm, comparisons) for arm in run.arms)
    status, reasons = _status(run)
    baseline = next((arm for arm in run.arms if arm.is_baseline), None)
    return RunSummary(
        schema_version=run.schema_version,
        run_id=run.run_id,
        name=run.name,
        started_utc=run.started_utc,
        finished_utc=run.finished_utc,
        status=status,
        reasons=tuple(reasons),
        harness=run.harness,
        spec=run.spec,
        spec_digest=run.spec_digest,
        machine=run.machine,
        price=run.price,
        model=_model(baseline),
        text=run.text,
        rows=rows,
        comparisons=tuple(comparisons),
        gate=judge(run, {row.key: dict(row.figures()) for row in rows}),
        calibration=calibration_of(run),
    )


def _model(baseline: ArmRecord | None) -> Json | None:
    if baseline is None:
        return None
    return {**baseline.model, "parameters": baseline.loaded.parameters if baseline.loaded else None}


def _status(run: RunRecord) -> tuple[RunStatus, list[str]]:
    """Return ``invalid`` without a measured baseline, ``partial`` for a failed arm or an unfinished run.

    A gate on two equal commits measures nothing, and is ``ok``.
    """
    reasons = [
        f"{row_title(arm.group, arm.name)}: {arm.status}: {arm.reason}"
        for arm in run.arms
        if arm.status not in NOT_A_FAILURE
    ]
    if nothing_differs(run):
        return RunStatus.OK, [*reasons, "the two commits are the same, so nothing was measured"]
    if run.finished_utc is None:
        reasons.append("the run was not finished; continue it with --resume")
    if not any(arm.is_baseline and arm.status == Outcome.OK for arm in run.arms):
        return RunStatus.INVALID, [*reasons, "no baseline was measured, so there is nothing to compare with"]
    notes = (
        misfit(run.price, [arm.loaded.facts.device for arm in run.arms if arm.loaded]),
        output_drift.shortfall(run),
        warning((arm.model, arm.optimise) for arm in run.arms),
        _other_prompts(run),
    )
    return (RunStatus.PARTIAL if reasons else RunStatus.OK), [*reasons, *run.notices, *filter(None, notes)]


def _other_prompts(run: RunRecord) -> str | None:
    """Say which variants read other tokens than the baseline for the same workload; None if none does."""
    found = []
    for arm in run.arms:
        base = run.baseline_of(arm)
        if base is None or not arm.solo or not base.solo or arm.workload != base.workload:
            continue
        if arm.prompts_digest != base.prompts_digest:
            ours, theirs = (sum(sum(batch.input_tokens) for batch in one.solo) for one in (arm, base))
            found.append(f"{row_title(arm.group, arm.name)} ({ours} tokens, the baseline {theirs})")
    if not found:
        return None
    return (
        f"the prompts of {', '.join(found)} are other tokens than the baseline's, by another tokenizer or "
        "chat template: the ratios include that"
    )


def _row(run: RunRecord, arm: ArmRecord, comparisons: Sequence[Comparison]) -> Row:
    figures: Figures = {}
    for family in families():
        figures |= family.figures(arm, run)
    for one in comparisons:
        mine = (one.group, one.variant, one.design) == (arm.group, arm.name, Design.DUET)
        if mine and one.metric == cost.PER_1K.key and one.value is not None:
            dollars = {metric.key: figures[metric.key] for metric in cost.METRICS}
            figures |= cost.as_paired(dollars, Interval(one.value, one.value_low, one.value_high))
    return Row(
        name=arm.name,
        group=arm.group,
        is_baseline=arm.is_baseline,
        status=Outcome(arm.status),
        reason=arm.reason,
        model=arm.model,
        runtime=arm.runtime,
        workload=arm.workload,
        optimisations=arm.optimise,
        evidence=_evidence(arm),
        facts=arm.loaded.facts if arm.loaded else None,
        one_off_s=one_off.seconds(arm),
        warm_up=WarmUpFound(arm.warm_up.durations_ms, arm.warm_up.steady) if arm.warm_up else None,
        energy_reason=(arm.energy.reason or None) if arm.energy else None,
        drift_reason=arm.drift_reason or None,
        noise=(*arm.noise, *(unit.noise for unit in run.pairs_of(arm) if unit.noise)),
        metrics={key: figure for key, figure in figures.items() if key not in drift_keys()},
        drift={key: figure for key, figure in figures.items() if key in drift_keys()},
        void_pairs=sum(
            (unit.group, unit.variant) == (arm.group, arm.name) and bool(unit.void) for unit in run.units
        ),
    )


def _evidence(arm: ArmRecord) -> Evidence | None:
    if arm.loaded is None:
        return None
    kernels = arm.warm_up.kernels if arm.warm_up else ()
    return Evidence(arm.loaded.evidence, arm.loaded.bytes_by_dtype, kernels)


def from_journal(directory: Path) -> RunSummary:
    """Summarise a run from its journal, whose chain is verified; ``run.json`` is not read."""
    return summarise(load_record(directory))


def is_run(directory: Path) -> bool:
    """Return whether a directory holds a run: its summary, or its journal as written or packed."""
    return any((directory / name).is_file() for name in (RUN_JSON, JOURNAL, f"{JOURNAL}.gz"))


def load_run(directory: Path) -> RunSummary:
    """Load a run's summary, or make it from the journal if the run was cut short before ``run.json``.

    Raises UsageError if there is no run, IntegrityError if ``run.json`` is damaged.
    """
    path = directory / RUN_JSON
    if not path.is_file():
        return from_journal(directory)
    try:
        return RunSummary.from_json(strict_json(path.read_bytes()))
    except ValueError as bad:
        hint = "without this file it is made again from the journal"
        raise IntegrityError(f"{path}: not JSON ({bad}); {hint}") from None
    except IntegrityError as bad:
        raise IntegrityError(f"{path}: {bad}") from None
