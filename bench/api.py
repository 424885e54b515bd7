"""The Python API: ``run``, ``compare``, ``load_run`` do what the commands of the same name do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.metrics.figure import value_of
from bench.results import summary


@dataclass(frozen=True)
class Run:
    """One finished run: its directory and the content of its ``run.json``."""

    directory: Path
    data: Mapping[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict a variant, ready for a DataFrame: names, status, each metric's headline number with
        its interval, and each ratio to the baseline."""
        return [self._flat(variant) for variant in self.data["variants"]]

    def _flat(self, variant: Mapping[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {
            key: variant[key] for key in ("name", "group", "is_baseline", "status", "reason")
        }
        for key, figure in {**variant["metrics"], **variant["drift"]}.items():
            row[key] = value_of(figure)
            row[f"{key}_ci_low"] = figure["ci_low"] if figure else None
            row[f"{key}_ci_high"] = figure["ci_high"] if figure else None
        for one in self.data["comparisons"]:
            if (one["variant"], one["group"]) == (variant["name"], variant["group"]):
                row[f"{one['metric']}_ratio"] = one["ratio"]
                row[f"{one['metric']}_ratio_ci_low"] = one["ci_low"]
                row[f"{one['metric']}_ratio_ci_high"] = one["ci_high"]
                row[f"{one['metric']}_verdict"] = one["verdict"]
        return row


def run(config: str | Path, out: str | Path = "results") -> Run:
    """Measure a config; as ``bench run``."""
    from bench.config.reader import read_config
    from bench.runs.run import run_spec

    return load_run(run_spec(read_config(Path(config)), Path(out)))


def load_run(directory: str | Path) -> Run:
    """Read a finished run. Raises UsageError where there is none, IntegrityError where it is damaged."""
    return Run(Path(directory), summary.load_run(Path(directory)))


def compare(one: str | Path, other: str | Path | None = None) -> list[dict[str, Any]]:
    """Ratios within a run, or the changes between two; as ``bench compare``."""
    from bench.results.between import between_runs

    first = load_run(one)
    return (
        list(first.data["comparisons"]) if other is None else between_runs(first.data, load_run(other).data)
    )
