"""pytest-benchmark JSON: seconds per request, so that ``pytest-benchmark compare`` shows runs in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.gate.findings import Finding, GateBlock
from bench.metrics import cost, latency, output_drift
from bench.metrics.load_blocks import sums
from bench.metrics.unit_ratios import NO_LIMITS
from bench.records import UnitRecord
from bench.report.formats import ascii_json, presented
from bench.report.gate_reading import bounds, findings_of, measured, unit_of
from bench.report.gate_sides import compared
from bench.results.headline import headline
from bench.results.paired_figures import factor_of, shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of
from bench.stats.intervals import Distribution, distribution

SUFFIX = "json"
REQUIRES: tuple[str, ...] = ()

FORMAT_VERSION = "5.1.0"  # the version of pytest-benchmark that the fields follow
QUARTILE_SD = 0.6745  # a normal distribution's quartiles, in standard deviations from its mean
UNVERSIONED = ("unversioned", False)  # no commit is known, so none is dirty
ESTIMATED = ("q1", "q3", "iqr", "ld15iqr", "hd15iqr")


def render(runs: Sequence[RunSummary]) -> str:
    """Write the rows that have times of requests; failed and unsupported rows are left out, as in pytest.

    The samples of a run are only in its journal, and ``run.json`` has a summary. So the quartiles are
    estimated as those of a normal distribution, clipped to the measured range; ``extra_info.estimated`` names
    these fields. The requests were timed alone. Those of a variant that ran in turns with its baseline are
    scaled to the mean of the table (``extra_info.scaled_by``), because figures from different minutes cannot
    be compared.

    Each rule of a gate that has a figure is a benchmark too, with its bounds as minimum and maximum. Its name
    contains the unit, because pytest-benchmark shows every number as seconds. The key ``gates``, which
    pytest-benchmark does not read, has all rules of all gates, also those without a figure.
    """
    clean = [presented(run) for run in runs]
    benchmarks = []
    for run in clean:
        for row in run.rows:
            if (figure := row.figure(latency.E2EL)) is not None and figure.sample is not None:
                stats = _stats(figure.sample, factor_of(run, row, latency.E2EL))
                benchmarks.append(_benchmark(run, row, stats, _extra(run, row)))
        for rule in run.gate.rules if run.gate else ():
            if rule.value is not None:
                benchmarks.append(_of_rule(run, rule, rule.value))
    return _file(clean, benchmarks)


def of_units(run: RunSummary, units: Sequence[UnitRecord]) -> str:
    """Write a gate's units in the same format.

    Each unit is a round, whose time is the seconds that a side took for the unit's requests.
    """
    clean = presented(run)
    benchmarks = []
    for row in clean.rows:
        mine = [
            unit
            for unit in units
            if unit.group == row.group and not unit.void and (row.is_baseline or unit.variant == row.name)
        ]
        sample = distribution([_side_ms(unit, base=row.is_baseline) for unit in mine])
        if sample is not None:
            verdicts = [_about_rule(rule) for rule in findings_of(clean, row)]
            extra = {"run_id": clean.run_id, "rules": verdicts, "estimated": ESTIMATED}
            benchmarks.append(_benchmark(clean, row, _stats(sample), extra))
    return _file([clean], benchmarks)


def _side_ms(unit: UnitRecord, *, base: bool) -> float:
    """Return the milliseconds that a side of a unit took; for a server, the time under load."""
    if unit.loads:
        blocks = unit.loads.baseline if base else unit.loads.variant
        return 1e3 * sums(blocks, NO_LIMITS).wall_s
    return sum(map(sum, unit.baseline_ns if base else unit.variant_ns)) / 1e6


def _file(runs: Sequence[RunSummary], benchmarks: list[dict[str, Any]]) -> str:
    run = runs[0] if runs else None
    gates = [_gate(run, run.gate) for run in runs if run.gate]
    return ascii_json(
        {
            "machine_info": _machine(run.machine if run else {}),
            "commit_info": _commit(runs),
            "benchmarks": benchmarks,
            "datetime": run.started_utc if run else None,
            "version": FORMAT_VERSION,
            **({"gates": gates} if gates else {}),
        },
        indent=1,
    ) + "\n"  # fmt: skip


def _commit(runs: Sequence[RunSummary]) -> dict[str, Any]:
    """Return pytest-benchmark's fields of the commit that was measured: the candidate of a gate on commits.

    A file has one commit. Runs of several commits, and of none, are ``unversioned``, as pytest-benchmark
    says.
    """
    measured = {_candidate(run) for run in runs}
    commit, dirty = measured.pop() if len(measured) == 1 else UNVERSIONED
    return {"id": commit, "time": None, "author_time": None, "dirty": dirty,
            "project": "inference-cost-bench", "branch": "(unknown)"}  # fmt: skip


def _candidate(run: RunSummary) -> tuple[str, bool]:
    """Return the commit whose code a run measured, and whether it is a working tree with changes."""
    about = compared(run.gate.effort) if run.gate else None
    return (about.candidate_commit, about.uncommitted) if about and about.of_commits else UNVERSIONED


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return pytest-benchmark's machine fields, as far as they are known, but never the host name."""
    return {
        "node": "",
        "machine": machine.get("architecture"),
        "processor": machine.get("cpu_model"),
        "release": machine.get("kernel"),
        "python_version": machine.get("python"),
        "cpu": {"brand_raw": machine.get("cpu_model"), "count": machine.get("cpus")},
        "gpus": machine.get("gpus"),
        "packages": machine.get("packages"),
    }


def _benchmark(run: RunSummary, row: Row, stats: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Make one benchmark. ``fullname`` has no run id, so that a variant is the same benchmark in each run."""
    return {
        "group": row.group or None,
        "name": row.title,
        "fullname": f"{run.name}::{row.title}",
        "params": None,
        "param": None,
        "extra_info": extra,
        "options": {},
        "stats": stats,
    }


def _gate(run: RunSummary, gate: GateBlock) -> dict[str, Any]:
    """Return the verdict of a gate, what it compared, and all of its rules."""
    about = compared(gate.effort)
    return {
        "run_id": run.run_id,
        "verdict": gate.verdict,
        "compared": about.sides,
        "differences": about.differing,
        "rules": [_about_rule(rule) for rule in gate.rules],
    }


def _about_rule(rule: Finding) -> dict[str, Any]:
    """Return a rule as in ``run.json``, with its unit added and without bounds that tell nothing."""
    low, high = bounds(rule)
    return {**asdict(rule), "low": low, "high": high, "unit": unit_of(rule), "measured": measured(rule)}


def _of_rule(run: RunSummary, rule: Finding, value: float) -> dict[str, Any]:
    """Make the benchmark of a rule from its single figure. The figure also replaces an unknown bound."""
    low, high = (value if bound is None else bound for bound in bounds(rule))
    name = f"{rule.title}: {rule.rule} ({unit_of(rule)})"
    rounds = max(rule.units, 1)
    stats = {
        "min": low, "max": high, "mean": value, "median": value, "q1": value, "q3": value, "ld15iqr": value,
        "hd15iqr": value, "stddev": 0.0, "iqr": 0.0, "rounds": rounds, "iterations": 1, "outliers": "-;-",
        "iqr_outliers": None, "stddev_outliers": None, "ops": 1 / value if value else 0.0,
        "total": value * rounds,
    }  # fmt: skip
    return {
        "group": rule.group or None,
        "name": name,
        "fullname": f"{run.name}::{name}",
        "params": None,
        "param": None,
        "extra_info": {"run_id": run.run_id, "gate": run.gate.verdict if run.gate else None,
                       **_about_rule(rule)},
        "options": {},
        "stats": stats,
    }  # fmt: skip


def _stats(sample: Distribution, factor: float | None = None) -> dict[str, Any]:
    """Return pytest-benchmark's fields in seconds, from a sample in milliseconds; unknown fields are null.

    All times are multiplied by ``factor``, so that their mean is the one of the table.
    """
    by = 1e3 / (factor or 1.0)
    low, high, mean, middle = (value / by for value in (sample.min, sample.max, sample.mean, sample.p50))
    sd = (sample.sd or 0.0) / by
    q1, q3 = max(low, middle - QUARTILE_SD * sd), min(high, middle + QUARTILE_SD * sd)
    reach = 1.5 * (q3 - q1)
    return {
        "min": low,
        "max": high,
        "mean": mean,
        "stddev": sd,
        "rounds": sample.n,
        "median": middle,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": None,
        "stddev_outliers": None,
        "outliers": "-;-",
        "ld15iqr": max(low, q1 - reach),
        "hd15iqr": min(high, q3 + reach),
        "ops": 1 / mean if mean else None,
        "total": mean * sample.n,
        "iterations": 1,
    }


def _extra(run: RunSummary, row: Row) -> dict[str, Any]:
    """Return the cost and drift of a row for ``extra_info``; unknown values are null."""
    ratio = headline(run, row)
    drift = {metric.key: value_of(row.figure(metric)) for metric in (output_drift.KLD, output_drift.TOP1)}
    return {
        "run_id": run.run_id,
        "status": row.status,
        cost.PER_1K.key: shown_value(run, row, cost.PER_1K),
        "scaled_by": factor_of(run, row, latency.E2EL),
        "cost_ratio": ratio.ratio if ratio else None,
        "cost_ratio_ci_low": ratio.ci_low if ratio else None,
        "cost_ratio_ci_high": ratio.ci_high if ratio else None,
        "verdict": ratio.verdict if ratio else None,
        **drift,
        "price": run.price["name"],
        "estimated": ESTIMATED,
    }
