"""pytest-benchmark JSON: seconds a request, so that ``pytest-benchmark compare`` shows runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.metrics import cost, latency, output_drift
from bench.metrics.figure import value_of
from bench.records import UnitRecord
from bench.report.formats import RunData, ascii_json, harmless, row_name
from bench.report.reading import comparison_of
from bench.stats.intervals import distribution

SUFFIX = "json"
REQUIRES: tuple[str, ...] = ()

FORMAT_VERSION = "5.1.0"  # of pytest-benchmark, whose reader asks for nothing else
QUARTILE_SD = 0.6745  # a normal distribution's quartiles, in standard deviations from its middle
ESTIMATED = ("q1", "q3", "iqr", "ld15iqr", "hd15iqr")


def render(runs: Sequence[RunData]) -> str:
    """Rows without a time of requests (failed, unsupported) are left out, as pytest leaves failures out.

    A run keeps each sample in its journal and only their summary in ``run.json``, so the quartiles here are
    estimated as if the times were normal, within their measured range; ``extra_info.estimated`` names them.
    """
    clean: list[RunData] = harmless(runs)
    first: RunData = clean[0] if clean else {"machine": {}, "started_utc": None}
    return _file(
        first,
        [
            _benchmark(run, variant, _stats(variant["metrics"][latency.E2EL.key]), _extra(run, variant))
            for run in clean
            for variant in run["variants"]
            if variant["metrics"].get(latency.E2EL.key)
        ],
    )


def of_units(run: RunData, units: Sequence[UnitRecord]) -> str:
    """A gate's units in the same form: seconds each side took for the unit's requests, a round a unit."""
    clean: RunData = harmless(run)
    benchmarks = []
    for variant in clean["variants"]:
        mine = [
            unit
            for unit in units
            if unit.group == variant["group"]
            and not unit.void
            and (variant["is_baseline"] or unit.variant == variant["name"])
        ]
        sides = [unit.baseline_ns if variant["is_baseline"] else unit.variant_ns for unit in mine]
        figure = distribution([sum(map(sum, side)) / 1e6 for side in sides])
        if figure is not None:
            verdicts = [rule for rule in clean["gate"]["rules"] if rule["variant"] == variant["name"]]
            extra = {"run_id": clean["run_id"], "rules": verdicts, "estimated": ESTIMATED}
            benchmarks.append(_benchmark(clean, variant, _stats(asdict(figure)), extra))
    return _file(clean, benchmarks)


def _file(run: RunData, benchmarks: list[dict[str, Any]]) -> str:
    return ascii_json(
        {
            "machine_info": _machine(run["machine"]),
            "commit_info": {"id": "unversioned", "time": None, "author_time": None, "dirty": False,
                            "project": "inference-cost-bench", "branch": "(unknown)"},
            "benchmarks": benchmarks,
            "datetime": run["started_utc"],
            "version": FORMAT_VERSION,
        },
        indent=1,
    ) + "\n"  # fmt: skip


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What pytest-benchmark records, as far as the fingerprint has it; never a host's name."""
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


def _benchmark(
    run: RunData, variant: Mapping[str, Any], stats: dict[str, Any], extra: dict[str, Any]
) -> dict[str, Any]:
    """``fullname`` has no run id in it: the same variant of two runs is the same benchmark."""
    return {
        "group": variant["group"] or None,
        "name": row_name(variant),
        "fullname": f"{run['name']}::{row_name(variant)}",
        "params": None,
        "param": None,
        "extra_info": extra,
        "options": {},
        "stats": stats,
    }


def _stats(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of pytest-benchmark in seconds, from a distribution in milliseconds; unknown ones null."""
    low, high, mean, middle = (figure[key] / 1e3 for key in ("min", "max", "mean", "p50"))
    sd = (figure["sd"] or 0.0) / 1e3
    q1, q3 = max(low, middle - QUARTILE_SD * sd), min(high, middle + QUARTILE_SD * sd)
    reach = 1.5 * (q3 - q1)
    return {
        "min": low,
        "max": high,
        "mean": mean,
        "stddev": sd,
        "rounds": figure["n"],
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
        "total": mean * figure["n"],
        "iterations": 1,
    }


def _extra(run: RunData, variant: Mapping[str, Any]) -> dict[str, Any]:
    """Money and drift; null where unknown."""
    one = comparison_of(run, variant, cost.PER_1K.key) or {}
    drift = {
        metric.key: value_of(variant["drift"].get(metric.key))
        for metric in (output_drift.KLD, output_drift.TOP1)
    }
    return {
        "run_id": run["run_id"],
        "status": variant["status"],
        cost.PER_1K.key: value_of(variant["metrics"].get(cost.PER_1K.key)),
        "cost_ratio": one.get("ratio"),
        "cost_ratio_ci_low": one.get("ci_low"),
        "cost_ratio_ci_high": one.get("ci_high"),
        "verdict": one.get("verdict"),
        **drift,
        "price": run["price"]["name"],
        "estimated": ESTIMATED,
    }
