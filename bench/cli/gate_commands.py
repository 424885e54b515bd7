"""What ``bench gate`` and ``bench calibrate`` do, and what they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cli.commands import load
from bench.config.spec import Spec
from bench.errors import ExitCode, UsageError
from bench.gate.finding import GateBlock
from bench.results.run_summary import RunSummary


@dataclass(frozen=True)
class GateOptions:
    """The options of ``bench gate``."""

    out: Path
    base: str | None
    cap: int
    batches: int | None
    overrides: Sequence[str]
    only: Sequence[str]


def gate(config: Path, options: GateOptions, *, as_json: bool, quiet: bool) -> ExitCode:
    """Measure and judge a config, or judge a finished run; return the verdict's exit code."""
    from bench.report.gate import lines

    run = _judged(config, options, quiet)
    assert run.gate is not None, "a judged run has a verdict"
    if as_json:
        print(json.dumps(run.gate.to_json(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines(run.name, run.gate)))
    _job_summary(run.name, run.gate)
    return run.gate.exit_code


def _judged(config: Path, options: GateOptions, quiet: bool) -> RunSummary:
    from bench.results.stored_gate import against_run, judge_run
    from bench.results.summary import from_journal  # a verdict does not rest on run.json

    if config.is_dir():
        if options.base is not None and not Path(options.base).is_dir():
            raise UsageError("a finished run can be gated by itself or with --base RUN, another run")
        run = from_journal(config)
        return judge_run(run) if options.base is None else against_run(run, from_journal(Path(options.base)))
    from bench.config.reader import read_config

    spec = read_config(config, options.overrides, options.only)
    if options.base is not None and Path(options.base).is_dir():
        stored = from_journal(Path(options.base))
        from bench.cli.progress import RunProgress
        from bench.runs.run import run_spec

        with RunProgress(spec, quiet=quiet) as rows:
            directory = run_spec(spec, options.out, tell=rows.tell)
        return against_run(load(directory), stored)
    return _measured(spec, options, quiet)


def _measured(spec: Spec, options: GateOptions, quiet: bool) -> RunSummary:
    from bench.cli.progress import FetchBar, RunProgress
    from bench.environments import interpreter_of
    from bench.runs.gate import Plan, gate_spec

    base, label = interpreter_of(options.base) if options.base else (None, "")
    plan = Plan(base, label, options.cap, options.batches)
    with RunProgress(spec, quiet=quiet) as rows, FetchBar(quiet=quiet) as bar:
        directory = gate_spec(spec, options.out, plan, tell=rows.tell, on_fetch=bar.update)
    print(f"{directory}/run.json", file=sys.stderr)
    return load(directory)


def _job_summary(name: str, gate: GateBlock) -> None:
    """On GitHub, write the verdict to the job's page and annotate every rule that does not pass."""
    from bench.report.gate import markdown, workflow_commands

    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(markdown(name, gate))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print("\n".join(workflow_commands(gate)), file=sys.stderr)


def calibrate(
    spec: Spec, out: Path, units: int, batches: int | None, base: str | None, *, quiet: bool
) -> None:
    """Run a calibration, an A/A comparison, and print what it found."""
    from bench.cli.progress import RunProgress
    from bench.environments import interpreter_of
    from bench.report.gate import calibration
    from bench.runs.gate import calibrate_spec

    other = interpreter_of(base)[0] if base else None
    with RunProgress(spec, quiet=quiet) as rows:
        directory = calibrate_spec(spec, out, units=units, batches=batches, base=other, tell=rows.tell)
    print("\n".join(calibration(load(directory).calibration)))
    print(f"  {directory}/run.json")
