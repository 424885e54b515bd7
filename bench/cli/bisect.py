"""Find the commit that made a model more expensive: ``bench gate CONFIG --bisect GOOD BAD``.

Every step gates a commit in the middle of the remaining ones against GOOD. FAIL means that the change is in
this commit or before it. PASS, or a commit that does not affect what is measured, means that it comes later.
A commit that cannot be measured is skipped, as by ``git bisect skip``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cli.gate_run import GateOptions, Judged, judged
from bench.cli.output import speakable
from bench.errors import BenchError, ExitCode, UsageError
from bench.gate.findings import GateVerdict
from bench.sides.repository import Repository
from bench.sides.side import Asked

BETTER = (GateVerdict.PASS, GateVerdict.IDENTICAL, GateVerdict.UNREACHED)
Verdict = Callable[[str], GateVerdict]


@dataclass(frozen=True)
class Bisected:
    """The commits that may contain the change, the oldest first. It is one if no commit was skipped."""

    suspects: tuple[str, ...]
    steps: int


def bisect(commits: Sequence[str], verdict: Verdict) -> Bisected:
    """Search ``commits`` for the first bad one. They are sorted, the oldest first, and the last is bad.

    ``verdict(commit)`` compares a commit with the good one. A commit whose verdict is neither good nor bad is
    skipped.
    """
    left, skipped, steps = list(commits), set[str](), 0
    while candidates := [commit for commit in left[:-1] if commit not in skipped]:
        commit = candidates[len(candidates) // 2]
        steps += 1
        result, place = verdict(commit), left.index(commit)
        if result == GateVerdict.FAIL:
            left = left[: place + 1]
        elif result in BETTER:
            left = left[place + 1 :]
        else:
            skipped.add(commit)
    return Bisected(tuple(left), steps)


def gate_bisect(config: Path, good: str, bad: str, options: GateOptions, *, quiet: bool) -> ExitCode:
    """Find the commit and print it. The exit code is FAIL, because there is a change beyond the limit.

    If BAD itself does not fail there is nothing to find, and the exit code is that of its verdict. Raises
    UsageError unless both are commits and BAD comes after GOOD, and BenchError if BAD cannot be measured.
    """
    repository = Asked(config, options.out).repository()
    commits = _between(repository, good, bad)

    def compared(commit: str) -> Judged | None:
        try:
            result = judged(config, replace(options, base=good, candidate=commit), quiet=quiet)
        except BenchError as failed:
            print(f"skip        {_line(repository, commit)}: {speakable(str(failed))}", flush=True)
            return None
        if unmeasured := result.gate.effort.details.get("unmeasured"):
            print(f"skip        {_line(repository, commit)}: {speakable(unmeasured['reason'])}", flush=True)
            return None
        print(f"{result.gate.verdict:12}{_line(repository, commit)}", flush=True)
        return result

    def verdict(commit: str) -> GateVerdict:
        result = compared(commit)
        return GateVerdict.ERROR if result is None else result.gate.verdict

    last = compared(commits[-1])
    if last is None:
        raise BenchError(f"--bisect: {bad} cannot be measured")
    if last.gate.verdict != GateVerdict.FAIL:
        print(f"{bad} against {good} is {last.gate.verdict}, not FAIL: there is nothing to look for")
        return last.gate.exit_code
    result = bisect(commits, verdict)
    title = "the first commit beyond the limit" if len(result.suspects) == 1 else "one of these commits"
    print(f"\n{title}, found in {result.steps + 1} gates:")
    for commit in result.suspects:
        print(f"  {_line(repository, commit)}")
    return ExitCode.FAIL


def _between(repository: Repository, good: str, bad: str) -> list[str]:
    """Return the commits after GOOD up to BAD, the oldest first. Raises UsageError if there are none."""
    ends = []
    for ref in (good, bad):
        found = repository.find(ref)
        if found is None:
            raise UsageError(f"--bisect: {repository.missing(ref)}")
        ends.append(found.commit)
    commits = repository.commits_between(*ends)
    if not commits:
        raise UsageError(f"--bisect: there are no commits after {good} up to {bad}")
    return commits


def _line(repository: Repository, commit: str) -> str:
    return f"{commit[:12]} {speakable(repository.subject(commit))[:100]}"
