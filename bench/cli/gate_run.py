"""Measure and judge a gate, for ``bench gate`` and for the pytest fixture."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.bounded import must_be_regular
from bench.cli.edited_results import showing
from bench.cli.idle_options import refuse_idle
from bench.cli.main_actions import load
from bench.cli.output import command_ci, speakable
from bench.config.spec import Spec
from bench.errors import BenchError, TerminatedRun, UsageError
from bench.gate import DEFAULT_CAP
from bench.gate.findings import GateBlock
from bench.results.run_summary import RunSummary

if TYPE_CHECKING:
    from bench.records import RunRecord
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


@dataclass(frozen=True)
class Judged:
    """A run with its verdict, and the run's directory."""

    directory: Path
    run: RunSummary

    @property
    def gate(self) -> GateBlock:
        """Return the verdict."""
        assert self.run.gate is not None, "a judged run has a verdict"
        return self.run.gate


def judged(config: Path, options: GateOptions, *, quiet: bool) -> Judged:
    """Measure and judge a config, or judge a finished run.

    ``options.base`` is a commit, a run or an interpreter. They are tried in this order, so that a branch wins
    over a file with the same name. Raises UsageError if it is none of them, or if the options contradict each
    other.
    """
    if config.is_dir():
        return Judged(config, _finished(config, options))
    if options.base is not None and _is_commit(config, options.base):
        return _measured_commits(config, options.base, options, quiet)
    if options.candidate is not None:
        raise UsageError("--candidate goes with --base COMMIT: each side of that gate is a commit")
    from bench.config.reader import read_config

    spec = read_config(config, options.overrides, options.only)
    if options.base is not None and _is_run(options.base):
        return _measured_against_run(spec, Path(options.base), options, quiet)
    return _measured(spec, options, quiet)


def must_be_used(config: Path, options: GateOptions) -> None:
    """Raise UsageError for an option of ``bench gate`` that has no effect on this kind of comparison."""
    of_commits = {
        "--limits-from": options.limits_from != "base", "--allow-identical": options.allow_identical,
    }  # fmt: skip
    by_units = {"--cap": options.cap != DEFAULT_CAP, "--batches": options.batches is not None}
    if config.is_dir():
        refuse_idle({**of_commits, **by_units}, "a finished run is judged as it was measured")
    elif options.base is None:
        refuse_idle(of_commits, "it is for two commits, and there is no --base REF")
    elif not _is_commit(config, options.base):
        refuse_idle(of_commits, "it is for two commits")
        if _is_run(options.base):
            refuse_idle(by_units, "a whole run is measured, and compared with the other one")


def job_summary(name: str, gate: GateBlock, *, lead: str = "") -> None:
    """On GitHub, write the verdict to the job's page, and annotate every rule that does not pass.

    ``lead`` is printed before the annotations, because each must be at the start of a line.
    """
    from bench.report.gate import markdown, workflow_commands

    _tell_the_job(markdown(name, gate), lead + "\n".join(workflow_commands(gate)))


def job_without_verdict(bad: BenchError | TerminatedRun) -> None:
    """On GitHub, write to the job's page and to an annotation why there is no verdict."""
    from bench.report.gate import failure

    _tell_the_job(*failure(speakable(str(bad))))


def _tell_the_job(text: str, commands: str) -> None:
    """Add a text to the page of a GitHub job, and print workflow commands to its log."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        try:
            if Path(page).exists():
                must_be_regular(Path(page).stat().st_mode, Path(page))
            with Path(page).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as bad:  # the verdict is valid even if the page cannot be written
            print(f"bench: the job's summary was not written: {bad.strerror}", file=sys.stderr)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        command_ci(commands)


# ---- what is compared ----------------------------------------------------------------------------


def _is_run(base: str) -> bool:
    """Return whether ``base`` is the directory of a run, not only the name of a branch."""
    from bench.results.summary import is_run

    return Path(base).is_dir() and is_run(Path(base))


def _is_commit(config: Path, base: str) -> bool:
    """Return whether ``base`` is a commit, or is meant as one: it is neither a run nor an interpreter."""
    from bench.sides.repository import Repository

    repository = Repository.around(config.absolute())
    if repository is not None and repository.find(base) is not None:
        return True
    return not _is_run(base) and not _is_interpreter(base)


def _is_interpreter(base: str) -> bool:
    return Path(base).is_file() and os.access(base, os.X_OK)


def _finished(run: Path, options: GateOptions) -> RunSummary:
    """Judge a finished run by its journal, without measuring and without reading ``run.json``."""
    from bench.results.stored_gate import judge_run
    from bench.results.summary import recorded

    if options.base is not None and not _is_run(options.base):
        raise UsageError("a finished run can be gated by itself or with --base RUN, another run")
    if options.overrides or options.only or options.candidate is not None:
        raise UsageError(
            "a finished run is judged as it was measured: --set, --only and --candidate change nothing"
        )
    finished = recorded(run)
    if options.base is None:
        with showing(run):
            return judge_run(finished[1])
    earlier = recorded(Path(options.base))
    with showing(run, Path(options.base)):
        return _against(finished, earlier)


def _against(
    run: tuple[RunRecord, RunSummary], earlier: tuple[RunRecord, RunSummary], *, chosen: bool = False
) -> RunSummary:
    """Judge a run against an earlier one; each is given as its journal has it, with its summary."""
    from bench.results.stored_gate import against_run
    from bench.results.suites_between import suites_between

    return against_run(run[1], earlier[1], suites_between(earlier[0], run[0]), chosen=chosen)


def _measured_against_run(spec: Spec, base: Path, options: GateOptions, quiet: bool) -> Judged:
    """Measure a whole run, and judge it against an earlier run."""
    from bench.cli.progress import RunProgress
    from bench.results.summary import recorded
    from bench.runs.run import run_spec
    from bench.store.replay import load_record

    earlier = recorded(base)
    with RunProgress(spec, quiet=quiet) as rows:
        directory = run_spec(spec, options.out, tell=rows.tell)
    with showing(base):
        judged = _against((load_record(directory), load(directory)), earlier, chosen=bool(options.only))
    return Judged(directory, judged)


def _measured(spec: Spec, options: GateOptions, quiet: bool) -> Judged:
    """Measure the variants against the baseline, or all rows against themselves in another interpreter."""
    from bench.runs.gate import Plan

    base = Path(options.base).absolute() if options.base else None
    return _gated(spec, Plan(base, options.base or "", options.cap, options.batches), options.out, quiet)


def _measured_commits(config: Path, base: str, options: GateOptions, quiet: bool) -> Judged:
    """Build the environments of both commits, say what differs between them, and measure."""
    from bench.report.gate import differences
    from bench.runs.gate import Plan, unmeasured_gate
    from bench.sides.ended_early import Unmeasured
    from bench.sides.repository import WORKTREE
    from bench.sides.side import Asked, sides_of_commits

    asked = Asked(config, options.out, options.overrides, options.only)
    say = sayer(quiet=quiet)
    try:
        sides = sides_of_commits(
            asked, base, WORKTREE if options.candidate is None else options.candidate, say
        )
    except Unmeasured as why:
        directory = unmeasured_gate(why, options.out, options.cap)
        say(f"{directory}/run.json")
        return Judged(directory, load(directory))
    say("\n".join(differences(sides.to_json(), sides.base.commit.label, sides.candidate.commit.label)))
    plan = Plan(
        cap=options.cap, batches=options.batches, commits=sides, limits_from=options.limits_from,
        allow_identical=options.allow_identical,
    )  # fmt: skip
    return _gated(sides.candidate.spec, plan, options.out, quiet)


def sayer(*, quiet: bool) -> Callable[[str], None]:
    """Return a function that prints a line of progress to stderr, or does nothing if ``quiet``."""
    return lambda text: None if quiet else print(text, file=sys.stderr, flush=True)


def _gated(spec: Spec, plan: Plan, out: Path, quiet: bool) -> Judged:
    from bench.cli.progress import FetchBar, RunProgress
    from bench.runs.gate import gate_spec

    with RunProgress(spec, quiet=quiet) as rows, FetchBar(quiet=quiet) as bar:
        directory = gate_spec(spec, out, plan, tell=rows.tell, on_fetch=bar.update)
    print(f"{directory}/run.json", file=sys.stderr)
    return Judged(directory, load(directory))
