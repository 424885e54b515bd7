"""Summarise the records of a run: compute its status, and the figures, evidence and notes of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.errors import Outcome
from bench.formatting import row_title
from bench.gate.calibration import calibration_of
from bench.gate.change_impact import nothing_differs
from bench.gate.judge import judge
from bench.metrics import answers, characters, cost, drift_keys, families, one_off, output_drift
from bench.metrics.comparisons import Comparison, compare_all
from bench.pricing.hardware import recorded_price
from bench.pricing.reprice import misfit
from bench.records import ArmRecord, RunRecord
from bench.records.grid import warning
from bench.results.consistency import distinct
from bench.results.examples import examples
from bench.results.row import Evidence, Row, WarmUpTimes
from bench.results.run_summary import Json, RunStatus, RunSummary
from bench.stats.figure import LARGER, Figures, kept, too_large
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import RatioDesign
from bench.store.packages import of_a_stored_run
from bench.store.values import MOST

STEP_PAIRS = (
    RatioDesign.DUET,
    RatioDesign.SLICES,
    RatioDesign.ABBA,
)  # designs of ratios from pairs of workers, not of servers
NOT_FINISHED = "the run was not finished; continue it with --resume"
NOT_A_FAILURE = (Outcome.OK, Outcome.UNSUPPORTED)


def summarise(run: RunRecord) -> RunSummary:
    """Compute the content of ``run.json``. This is a pure function: the same journal gives the same bytes.

    Raises IntegrityError for a price that ``bench`` cannot have written, also without a row that costs it,
    and UsageError for a suite that is not here, with the package that may have added it.
    """
    with of_a_stored_run(run.machine):
        return _summarised(run)


def _summarised(run: RunRecord) -> RunSummary:
    recorded_price(run.price, run.run_id)
    comparisons = compare_all(run)
    paired = {(ratio.group, ratio.variant): ratio for ratio in comparisons if ratio.metric == cost.PER_1K.key}
    whole = [_figures(run, arm, paired.get((arm.group, arm.name))) for arm in run.arms]
    rows = distinct([_row(run, arm, kept(found, MOST)) for arm, found in zip(run.arms, whole, strict=True)])
    status, reasons = _status(run)
    baseline = next((arm for arm in run.arms if arm.is_baseline), None)
    return RunSummary(
        schema_version=run.schema_version,
        run_id=run.run_id,
        name=run.name,
        started_utc=run.started_utc,
        finished_utc=run.finished_utc,
        status=status,
        reasons=(*reasons, *_too_large(run, whole)),
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
        inputs=run.inputs,
    )


def _model(baseline: ArmRecord | None) -> Json | None:
    if baseline is None:
        return None
    return {**baseline.model, "parameters": baseline.loaded.parameters if baseline.loaded else None}


def _status(run: RunRecord) -> tuple[RunStatus, list[str]]:
    """Return (the status of a run, the reasons and notes for it).

    The status is ``invalid`` if no baseline was measured, and ``partial`` if an arm failed or the run was not
    finished. A gate on two equal commits measures nothing, and is ``ok``.
    """
    reasons = [
        f"{row_title(arm.group, arm.name)}: {arm.status}: {arm.reason}"
        for arm in run.arms
        if arm.status not in NOT_A_FAILURE
    ]
    if nothing_differs(run):
        return RunStatus.OK, [*reasons, "the two commits are the same, so nothing was measured"]
    if run.finished_utc is None:
        reasons.append(NOT_FINISHED)
    if not any(arm.is_baseline and arm.status == Outcome.OK for arm in run.arms):
        return RunStatus.INVALID, [*reasons, "no baseline was measured, so there is nothing to compare with"]
    notes = (
        misfit(run.price, [arm.loaded.facts.device for arm in run.arms if arm.loaded]),
        output_drift.shortfall(run),
        warning((arm.model, arm.optimise) for arm in run.arms),
        _other_prompts(run),
        *(
            f"{row_title(arm.group, arm.name)}: suites: {arm.suites_reason}"
            for arm in run.arms
            if arm.suites_reason
        ),
    )
    return (RunStatus.PARTIAL if reasons else RunStatus.OK), [*reasons, *run.notices, *filter(None, notes)]


def _other_prompts(run: RunRecord) -> str | None:
    """Say which variants read other tokens than the baseline in the same workload; None if there is none."""
    differing = []
    for arm in run.arms:
        base = run.baseline_of(arm)
        if base is None or not arm.solo or not base.solo or arm.workload != base.workload:
            continue
        if arm.prompts_digest != base.prompts_digest:
            tokens, of_baseline = (
                sum(sum(batch.input_tokens) for batch in side.solo) for side in (arm, base)
            )
            title = row_title(arm.group, arm.name)
            differing.append(f"{title} ({tokens} tokens, the baseline {of_baseline})")
    if not differing:
        return None
    return (
        f"the prompts of {', '.join(differing)} are other tokens than the baseline's, by another tokenizer "
        "or chat template: the ratios include that"
    )


def _row(run: RunRecord, arm: ArmRecord, figures: Figures) -> Row:
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
        warm_up=WarmUpTimes(arm.warm_up.durations_ms, arm.warm_up.steady) if arm.warm_up else None,
        energy_reason=(arm.energy.reason or None) if arm.energy else None,
        drift_reason=arm.drift_reason or None,
        noise=(*arm.noise, *(unit.noise for unit in run.valid_units_of(arm) if unit.noise.get("stage"))),
        metrics={key: figure for key, figure in figures.items() if key not in drift_keys()},
        drift={key: figure for key, figure in figures.items() if key in drift_keys()},
        void_pairs=sum(bool(unit.void) for unit in run.units_of(arm)),
        prompts_sha256=arm.prompts_digest,
        models_sha256={
            key: one["files_sha256"] for key, one in arm.models.items() if one.get("files_sha256")
        },
        examples=examples(run, arm) if arm.status == Outcome.OK else (),
    )


def _figures(run: RunRecord, arm: ArmRecord, paired: Comparison | None) -> Figures:
    """Compute every figure of a row; ``paired`` is its ratio of dollars per thousand tokens.

    A row that failed has no figures, because what it measured before the failure does not describe a
    successful request; it stays in the journal. If the ratio comes from pairs of workers, the dollars of the
    row are the baseline's multiplied by the ratio. A server has its own dollars, which already include all
    its blocks.
    """
    figures: Figures = {}
    for family in families():
        figures |= family.figures(arm, run)
    if arm.status != Outcome.OK:
        return dict.fromkeys(figures)
    if paired is not None and paired.design in STEP_PAIRS and paired.value is not None:
        priced = (*cost.METRICS, characters.PER_1K, answers.PER_ANSWER)
        dollars = {metric.key: figures[metric.key] for metric in priced if metric.key in figures}
        figures |= cost.as_paired(dollars, Interval(paired.value, paired.value_low, paired.value_high))
    return figures


def _too_large(run: RunRecord, whole: Sequence[Figures]) -> Iterator[str]:
    """Yield a sentence for each row of which figures are left out."""
    for arm, figures in zip(run.arms, whole, strict=True):
        if lost := too_large(figures, MOST):
            yield f"{row_title(arm.group, arm.name)}: {LARGER}: {', '.join(lost)}"


def _evidence(arm: ArmRecord) -> Evidence | None:
    if arm.server:
        return Evidence((_served_as(arm),))
    if arm.loaded is None:
        return None
    in_warm_up = arm.warm_up.kernels if arm.warm_up else ()  # earlier versions profiled in the warm-up
    kernels = arm.profile.kernels if arm.profile else in_warm_up
    return Evidence(arm.loaded.evidence, arm.loaded.bytes_by_dtype, kernels)


def _served_as(arm: ArmRecord) -> Json:
    """Return a step of the evidence with what the server reported about itself and how it was started."""
    head = arm.server
    took = {"took_s": head["ready_s"]} if "ready_s" in head else {}
    return {"step": f"serve: {head.get('target')}", **took, "checks": [], "server": head}
