"""Make ``run.json``, which has all that is needed to judge a run without measuring again, from its
journal."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.bounded import Contents, contents_of, read_bounded, why
from bench.errors import BenchError, IntegrityError, Outcome
from bench.formatting import MIB, row_title
from bench.gate.calibration import calibration_of
from bench.gate.judge import judge
from bench.gate.reach import nothing_differs
from bench.metrics import answers, characters, cost, drift_keys, families, one_off, output_drift
from bench.metrics.comparisons import Comparison, compare_all
from bench.pricing.hardware import recorded_price
from bench.pricing.reprice import misfit
from bench.records import ArmRecord, RunRecord
from bench.records.grid import warning
from bench.results.examples import examples
from bench.results.light import lightened
from bench.results.row import Evidence, Row, WarmUpFound
from bench.results.run_summary import Json, RunStatus, RunSummary
from bench.results.schema import Summary
from bench.stats.figure import Figures
from bench.stats.intervals import Interval
from bench.stats.verdict import Design
from bench.store.files import digest, strict_json
from bench.store.journal import last_digest, records_up_to
from bench.store.replay import JOURNAL, journal_of, judging, load_record
from bench.store.run_files import RUN_JSON as RUN_JSON
from bench.store.schema import check_block

SEAL = "seal"
# The largest under results/reference has 0.8 MiB, 27,646 values, 4,230 lists and objects and 27,994 keys; a
# row has up to 1,000 keys.
MAX_BYTES = 32 * MIB
MOST = Contents(containers=160_000, values=1_100_000, keys=1_100_000)
MADE_AGAIN = "without this file it is made again from the journal"
UNSEALED = "its run.json has no seal and there is no journal beside it, so its figures cannot be checked"
STEP_PAIRS = (Design.DUET, Design.ABBA)  # pairs of processes that decode, and not of servers
NOT_A_FAILURE = (Outcome.OK, Outcome.UNSUPPORTED)


def summarise(run: RunRecord) -> RunSummary:
    """Make the content of ``run.json``. This is a pure function: the same journal gives the same bytes."""
    comparisons = compare_all(run)
    paired = {(one.group, one.variant): one for one in comparisons if one.metric == cost.PER_1K.key}
    rows = tuple(_row(run, arm, paired.get((arm.group, arm.name))) for arm in run.arms)
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
        *(
            f"{row_title(arm.group, arm.name)}: suites: {arm.suites_reason}"
            for arm in run.arms
            if arm.suites_reason
        ),
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


def _row(run: RunRecord, arm: ArmRecord, paired: Comparison | None) -> Row:
    figures = _figures(run, arm, paired)
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
        void_pairs=sum(bool(unit.void) for unit in run.units_of(arm)),
        prompts_sha256=arm.prompts_digest,
        examples=examples(run, arm) if arm.status == Outcome.OK else (),
    )


def _figures(run: RunRecord, arm: ArmRecord, paired: Comparison | None) -> Figures:
    """Compute every figure of a row; ``paired`` is its ratio of dollars per thousand tokens.

    A row that was not measured to its end has none: what it measured before it failed is in the journal, and
    says nothing about a request that succeeds. A server's dollars stay its own: all its blocks are in them.
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


def _evidence(arm: ArmRecord) -> Evidence | None:
    if arm.server:
        return Evidence((_served_as(arm),))
    if arm.loaded is None:
        return None
    earlier = arm.warm_up.kernels if arm.warm_up else ()  # of versions that profiled before they timed
    kernels = arm.profile.kernels if arm.profile else earlier
    return Evidence(arm.loaded.evidence, arm.loaded.bytes_by_dtype, kernels)


def _served_as(arm: ArmRecord) -> Json:
    """Return what a server said of itself, and how it was started, as a step of the evidence."""
    head = arm.server
    took = {"took_s": head["ready_s"]} if "ready_s" in head else {}
    return {"step": f"serve: {head.get('target')}", **took, "checks": [], "server": head}


def from_journal(directory: Path) -> RunSummary:
    """Summarise a run from its journal, whose chain is verified; ``run.json`` is not read."""
    record = load_record(directory)
    with judging(journal_of(directory)):
        return summarise(record)


def is_run(directory: Path) -> bool:
    """Return whether a directory holds a run: its summary, or its journal as written or packed."""
    return any((directory / name).is_file() for name in (RUN_JSON, JOURNAL, f"{JOURNAL}.gz"))


def sealed(content: Json, journal: Path) -> Json:
    """Return the content of ``run.json`` with its seal: the digests of the content and of the journal's last
    line. It protects against accidents, as the journal's chain does, not against the owner."""
    return {**content, SEAL: {"content_sha256": digest(content), "journal_sha256": last_digest(journal)}}


def load_run(directory: Path, figures: Container[str] | None = None) -> RunSummary:
    """Load a run's summary from ``run.json``, or make it from the journal if there is none yet.

    The seal of ``run.json`` is checked: an edited figure is refused, and so is the summary of another
    journal. That of an earlier state of this one, which has been continued since, is made again. A file
    without a seal, from an earlier version, is not believed if the journal is there; without a journal, the
    run's ``reasons`` say so. Raises UsageError if there is no run, IntegrityError if ``run.json`` is damaged.

    With ``figures``, only these are read of each row, and neither evidence nor drift.
    """
    path = directory / RUN_JSON
    if not os.path.lexists(path):
        return from_journal(directory)
    found = read_summary(path)
    seal = found.pop(SEAL, None)
    has_journal = any(os.path.lexists(directory / name) for name in (JOURNAL, f"{JOURNAL}.gz"))
    if seal is None and has_journal:
        return from_journal(directory)
    journal = journal_of(directory) if has_journal else None
    if seal is not None and not check_seal(path, digest(found), seal, journal):
        return from_journal(directory)
    if figures is not None:
        found = lightened(found, figures)
    try:
        check_block(Summary, found, "the run")
        run = RunSummary.from_json(found)
        recorded_price(run.price, run.run_id)
    except IntegrityError as bad:
        raise IntegrityError(f"{path}: {bad}") from None
    return run if seal is not None else replace(run, reasons=(*run.reasons, UNSEALED))


def must_be_readable(path: Path, content: bytes) -> None:
    """Raise BenchError, before it is written, for a ``run.json`` that no reader would take.

    Without the file every command makes it again from the journal, so nothing that was measured is lost.
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content) // MIB} MiB, and the most is {MAX_BYTES // MIB}")
        contents_of(content).must_fit(MOST)
    except ValueError as bad:
        raise BenchError(
            f"{path} would be too large to be read back ({bad}), so it is not written; the journal beside it "
            "has everything that was measured"
        ) from None


def read_summary(path: Path) -> dict[str, Any]:
    """Read ``run.json`` as it is. Raises IntegrityError for what is no JSON object, or no regular file."""
    try:
        found = strict_json(read_bounded(path, MAX_BYTES, follow=False), MOST)
    except OSError as bad:
        raise IntegrityError(f"{path}: {why(bad)}") from None
    except ValueError as bad:
        raise IntegrityError(f"{path}: not JSON ({bad}); {MADE_AGAIN}") from None
    if not isinstance(found, dict):
        raise IntegrityError(f"{path}: the whole file is not an object; {MADE_AGAIN}")
    return found


def check_seal(path: Path, content_sha256: str, seal: object, journal: Path | None) -> bool:
    """Hold ``run.json`` against its seal, and against the journal if there is one; return whether it is the
    summary of all records there. Raises IntegrityError.

    ``content_sha256`` is the digest of its content without the seal.
    """
    if not isinstance(seal, dict) or seal.get("content_sha256") != content_sha256:
        raise IntegrityError(f"{path}: was changed after it was written; {MADE_AGAIN}")
    if journal is None or seal.get("journal_sha256") == last_digest(journal):
        return True
    if earlier_state(seal, journal) is None:
        raise IntegrityError(f"{path}: is not the summary of {journal}; {MADE_AGAIN}")
    return False


def earlier_state(seal: object, journal: Path) -> int | None:
    """Return of how many records a sealed summary is, if more have come since: the run was continued, and cut
    short before its new summary was written. None if it is of all of them, or of another journal."""
    known = seal.get("journal_sha256") if isinstance(seal, dict) else None
    return None if known == last_digest(journal) else records_up_to(journal, known)
