"""Offer the Python API: ``run`` and ``compare`` do what the commands do, ``load_run`` reads a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.results import summary
from bench.results.run_summary import RunSummary


@dataclass(frozen=True)
class Run:
    """One finished run: its directory and its summary."""

    directory: Path
    summary: RunSummary

    @property
    def data(self) -> Mapping[str, Any]:
        """Return the content of ``run.json``."""
        return self.summary.to_json()

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat dict for each row, ready for a DataFrame: names, status, the headline number of each
        metric with its interval, and each ratio to the baseline."""
        return self.summary.flat_rows()


def run(config: str | Path, out: str | Path = "results") -> Run:
    """Measure a config, as ``bench run`` does."""
    from bench.config.reader import read_config
    from bench.runs.run import run_spec

    return load_run(run_spec(read_config(Path(config)), Path(out)))


def load_run(directory: str | Path) -> Run:
    """Read a finished run. Raises UsageError if there is none, IntegrityError if it is damaged."""
    return Run(Path(directory), summary.load_run(Path(directory)))


def compare(one: str | Path, other: str | Path | None = None) -> list[dict[str, Any]]:
    """Return the ratios within a run, or the changes between two runs, as ``bench compare`` does."""
    from bench.results.run_comparison import between_runs

    first = load_run(one).summary
    found = first.comparisons if other is None else between_runs(first, load_run(other).summary)
    return [asdict(row) for row in found]
