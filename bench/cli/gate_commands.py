"""What ``bench gate`` and ``bench calibrate`` do, and what they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.cli.commands import load
from bench.config.spec import Spec
from bench.errors import ExitCode, UsageError
from bench.gate.finding import GateBlock
from bench.results.run_summary import RunSummary

if TYPE_CHECKING:
    from bench.runs.gate import Plan


@dataclass(frozen=True)
class GateOptions:
    """The options of ``bench gate``."""

    out: Path
    base: str | None
    cap: int
    batches: int | None
    overrides: Sequence[str]
    only: Sequence[str]
    candidate: str | None = None
    limits_from: Literal["base", "candidate"] = "base"
    allow_identical: bool = False


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

    stored_base = options.base is not None and _is_run(Path(options.base))
    if config.is_dir():
        if options.base is not None and not stored_base:
            raise UsageError("a finished run can be gated by itself or with --base RUN, another run")
        if options.overrides or options.only or options.candidate:
            raise UsageError(
                "a finished run is judged as it was measured: --set, --only and --candidate change nothing"
            )
        run = from_journal(config)
        return judge_run(run) if options.base is None else against_run(run, from_journal(Path(options.base)))
    from bench.config.reader import read_config

    if options.base is not None and not stored_base and not _is_interpreter(Path(options.base)):
        return _measured_commits(config, options.base, options, quiet)
    if options.candidate is not None:
        raise UsageError("--candidate goes with --base COMMIT: each side of that gate is a commit")
    spec = read_config(config, options.overrides, options.only)
    if options.base is not None and stored_base:
        stored = from_journal(Path(options.base))
        from bench.cli.progress import RunProgress
        from bench.runs.run import run_spec

        with RunProgress(spec, quiet=quiet) as rows:
            directory = run_spec(spec, options.out, tell=rows.tell)
        return against_run(load(directory), stored)
    return _measured(spec, options, quiet)


def _is_run(path: Path) -> bool:
    """Return whether a path is a run's directory; a directory may also have the name of a branch."""
    from bench.results.summary import is_run

    return path.is_dir() and is_run(path)


def _is_interpreter(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _measured(spec: Spec, options: GateOptions, quiet: bool) -> RunSummary:
    from bench.runs.gate import Plan

    base = Path(options.base).absolute() if options.base else None
    return _gated(spec, Plan(base, options.base or "", options.cap, options.batches), options.out, quiet)


def _measured_commits(config: Path, base: str, options: GateOptions, quiet: bool) -> RunSummary:
    """Build both sides, say what differs between them, and measure."""
    from bench.report.gate import differences
    from bench.runs.gate import Plan
    from bench.sides.side import sides_of_commits

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    sides = sides_of_commits(
        config, base, options.candidate or "worktree", options.overrides, options.only, say
    )
    say("\n".join(differences(sides.to_json(), sides.base.commit.label, sides.candidate.commit.label)))
    plan = Plan(
        cap=options.cap, batches=options.batches, commits=sides, limits_from=options.limits_from,
        allow_identical=options.allow_identical,
    )  # fmt: skip
    return _gated(sides.candidate.spec, plan, options.out, quiet)


def _gated(spec: Spec, plan: Plan, out: Path, quiet: bool) -> RunSummary:
    from bench.cli.progress import FetchBar, RunProgress
    from bench.runs.gate import gate_spec

    with RunProgress(spec, quiet=quiet) as rows, FetchBar(quiet=quiet) as bar:
        directory = gate_spec(spec, out, plan, tell=rows.tell, on_fetch=bar.update)
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
