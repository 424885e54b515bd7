"""What ``bench gate`` and ``bench calibrate`` do, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

from bench.cli.commands import load
from bench.cli.gating import GateOptions, job_summary, judged
from bench.config.spec import Spec
from bench.errors import ExitCode

__all__ = ["GateOptions", "calibrate", "gate"]


def gate(config: Path, options: GateOptions, *, as_json: bool, quiet: bool) -> ExitCode:
    """Measure and judge a config, or judge a finished run; return the verdict's exit code."""
    from bench.report.gate import lines

    found = judged(config, options, quiet=quiet)
    if as_json:
        print(json.dumps(found.gate.to_json(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines(found.run.name, found.gate)))
    job_summary(found.run.name, found.gate)
    return found.gate.exit_code


def calibrate(
    spec: Spec, out: Path, units: int, batches: int | None, base: str | None, *, quiet: bool
) -> None:
    """Run a calibration, an A/A comparison, and print what it found."""
    from bench.cli.progress import RunProgress
    from bench.environments import interpreter_at
    from bench.report.gate import calibration
    from bench.runs.gate import calibrate_spec

    other = interpreter_at(base) if base else None
    with RunProgress(spec, quiet=quiet) as rows:
        directory = calibrate_spec(spec, out, units=units, batches=batches, base=other, tell=rows.tell)
    print("\n".join(calibration(load(directory).calibration)))
    print(f"  {directory}/run.json")
