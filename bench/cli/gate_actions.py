"""Do what ``bench gate`` and ``bench calibrate`` ask for, and print the results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.cli.edited_results import showing
from bench.cli.gate_run import GateOptions, job_summary, job_without_verdict, judged, must_be_used, sayer
from bench.cli.main_actions import load
from bench.config.spec import Spec
from bench.errors import BenchError, ExitCode, TerminatedRun

__all__ = ["CalibrateOptions", "GateOptions", "calibrate", "gate"]


@dataclass(frozen=True)
class CalibrateOptions:
    """The options of ``bench calibrate``."""

    out: Path
    units: int
    batches: int | None
    base: str | None
    commit: str | None
    overrides: Sequence[str]
    if_due: bool = False


def gate(config: Path, options: GateOptions, *, as_json: bool, quiet: bool) -> ExitCode:
    """Measure and judge a config, or judge a finished run. Return the exit code of the verdict."""
    from bench.report.formats import ascii_json
    from bench.report.gate import lines

    try:
        must_be_used(config, options)
        result = judged(config, options, quiet=quiet)
        with showing(config) if config.is_dir() else nullcontext():
            shown = lines(result.run.name, result.gate)
    except (BenchError, TerminatedRun) as bad:  # who pressed Ctrl-C knows why there is no verdict
        job_without_verdict(bad)
        raise
    if as_json:
        print(ascii_json(result.gate.to_json(), indent=1))
    else:
        print("\n".join(shown))
    job_summary(result.run.name, result.gate)
    return result.gate.exit_code


def calibrate(config: Path, options: CalibrateOptions, *, quiet: bool) -> None:
    """Run a calibration, which compares a baseline with itself (A/A), and print its result."""
    from bench.cli.progress import RunProgress
    from bench.config.reader import read_config
    from bench.environments import interpreter_at
    from bench.report.gate import calibration
    from bench.runs.gate import calibrate_spec
    from bench.sides.side import Asked, side_of

    side = None
    if options.commit is None:
        spec = read_config(config, options.overrides)
    else:
        asked = Asked(config, options.out, options.overrides)
        side = side_of(asked, "--commit", options.commit, sayer(quiet=quiet))
        spec = side.spec
    if options.if_due and _calibrated(spec if side is None else side.written, options.out):
        return
    base = interpreter_at(options.base) if options.base else None
    with RunProgress(spec, quiet=quiet) as rows:
        directory = calibrate_spec(
            spec, options.out, units=options.units, batches=options.batches, base=base, tell=rows.tell,
            side=side,
        )  # fmt: skip
    print("\n".join(calibration(load(directory).calibration)))
    print(f"  {directory}/run.json")


def _calibrated(spec: Spec, out: Path) -> bool:
    """Return whether a gate on this config would find a calibration in ``out``; then it is printed."""
    from bench.gate.calibration import VALID, latest
    from bench.measure.clock import utc_now
    from bench.report.gate import calibration
    from bench.runs.sides import conditions
    from bench.store.replay import newest_first

    found = latest(newest_first(out), conditions(spec), utc_now()) if out.is_dir() else None
    if found is not None:
        print(f"not due: {found.run_id}, of the last {VALID.days} days, is valid here")
        print("\n".join(calibration(found)))
    return found is not None
