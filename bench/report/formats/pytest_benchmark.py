"""pytest-benchmark JSON: seconds per request, so that ``pytest-benchmark compare`` shows runs in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.metrics import cost, latency, output_drift
from bench.records import UnitRecord
from bench.report.formats import ascii_json, harmless
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of
from bench.stats.intervals import Distribution, distribution

SUFFIX = "json"
REQUIRES: tuple[str, ...] = ()

FORMAT_VERSION = "5.1.0"  # the version of pytest-benchmark that the fields follow
QUARTILE_SD = 0.6745  # a normal distribution's quartiles, in standard deviations from its mean
ESTIMATED = ("q1", "q3", "iqr", "ld15iqr", "hd15iqr")


def render(runs: Sequence[RunSummary]) -> str:
    """Write the rows that have times of requests; failed and unsupported rows are left out, as in pytest.

    A run keeps each sample in its journal and only a summary in ``run.json``. The quartiles here are
    therefore estimated as if the times were normal, within their measured range; ``extra_info.estimated``
    names the fields.
    """
    clean = [harmless(run) for run in runs]
    return _file(
        clean[0] if clean else None,
        [
            _benchmark(run, row, _stats(figure.sample), _extra(run, row))
            for run in clean
            for row in run.rows
            if (figure := row.figure(latency.E2EL)) is not None and figure.sample is not None
        ],
    )


def of_units(run: RunSummary, units: Sequence[UnitRecord]) -> str:
    """Write a gate's units in the same form.

    A unit is a round: the seconds that a side took for the unit's requests.
    """
    clean = harmless(run)
    benchmarks = []
    for row in clean.rows:
        mine = [
            unit
            for unit in units
            if unit.group == row.group and not unit.void and (row.is_baseline or unit.variant == row.name)
        ]
        sides = [unit.baseline_ns if row.is_baseline else unit.variant_ns for unit in mine]
        sample = distribution([sum(map(sum, side)) / 1e6 for side in sides])
        if sample is not None:
            rules = clean.gate.rules if clean.gate else ()
            verdicts = [asdict(rule) for rule in rules if rule.variant == row.name]
            extra = {"run_id": clean.run_id, "rules": verdicts, "estimated": ESTIMATED}
            benchmarks.append(_benchmark(clean, row, _stats(sample), extra))
    return _file(clean, benchmarks)


def _file(run: RunSummary | None, benchmarks: list[dict[str, Any]]) -> str:
    return ascii_json(
        {
            "machine_info": _machine(run.machine if run else {}),
            "commit_info": {"id": "unversioned", "time": None, "author_time": None, "dirty": False,
                            "project": "inference-cost-bench", "branch": "(unknown)"},
            "benchmarks": benchmarks,
            "datetime": run.started_utc if run else None,
            "version": FORMAT_VERSION,
        },
        indent=1,
    ) + "\n"  # fmt: skip


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what pytest-benchmark records, as far as the fingerprint has it; never a host's name."""
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
    """Make one benchmark. ``fullname`` has no run id in it: a variant is the same benchmark in two runs."""
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


def _stats(sample: Distribution) -> dict[str, Any]:
    """Return pytest-benchmark's fields in seconds, from a sample in milliseconds; unknown ones are null."""
    low, high, mean, middle = (value / 1e3 for value in (sample.min, sample.max, sample.mean, sample.p50))
    sd = (sample.sd or 0.0) / 1e3
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
        "ops": 1 / mean,
        "total": mean * sample.n,
        "iterations": 1,
    }


def _extra(run: RunSummary, row: Row) -> dict[str, Any]:
    """Return money and drift; unknown values are null."""
    ratio = run.comparison(row, cost.PER_1K)
    drift = {metric.key: value_of(row.figure(metric)) for metric in (output_drift.KLD, output_drift.TOP1)}
    return {
        "run_id": run.run_id,
        "status": row.status,
        cost.PER_1K.key: value_of(row.figure(cost.PER_1K)),
        "cost_ratio": ratio.ratio if ratio else None,
        "cost_ratio_ci_low": ratio.ci_low if ratio else None,
        "cost_ratio_ci_high": ratio.ci_high if ratio else None,
        "verdict": ratio.verdict if ratio else None,
        **drift,
        "price": run.price["name"],
        "estimated": ESTIMATED,
    }
