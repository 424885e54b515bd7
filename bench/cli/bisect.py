"""``bench gate CONFIG --bisect GOOD BAD``: find the commit that made it more expensive, by gates.

Every step is a gate of GOOD against a commit in the middle of what is left. FAIL means that the change is at
or before this commit; PASS, or a change that does not reach what is measured, means that it comes later. A
commit that cannot be measured is passed over, as ``git bisect skip`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cli.gate_run import GateOptions, Judged, judged
from bench.cli.output import speakable
from bench.errors import BenchError, ExitCode, UsageError
from bench.gate.verdict import GateVerdict
from bench.sides.repository import Repository
from bench.sides.side import Asked

BETTER = (GateVerdict.PASS, GateVerdict.IDENTICAL, GateVerdict.UNREACHED)
Verdict = Callable[[str], GateVerdict]


@dataclass(frozen=True)
class Bisected:
    """The commits that can have made it more expensive, the oldest first: one, if every step could decide."""

    suspects: tuple[str, ...]
    steps: int


def bisect(commits: Sequence[str], verdict: Verdict) -> Bisected:
    """Search ``commits`` (the oldest first, the last known to be bad) for the first bad one.

    ``verdict(commit)`` compares it with the good one. A verdict that decides nothing takes the commit out.
    """
    left, skipped, steps = list(commits), set[str](), 0
    while open_ := [commit for commit in left[:-1] if commit not in skipped]:
        commit = open_[len(open_) // 2]
        steps += 1
        said, place = verdict(commit), left.index(commit)
        if said == GateVerdict.FAIL:
            left = left[: place + 1]
        elif said in BETTER:
            left = left[place + 1 :]
        else:
            skipped.add(commit)
    return Bisected(tuple(left), steps)


def gate_bisect(config: Path, good: str, bad: str, options: GateOptions, *, quiet: bool) -> ExitCode:
    """Find the commit and print it; the exit code is FAIL, because a change beyond the limit was found.

    If BAD itself does not fail there is nothing to look for, and the exit code is that of its verdict. Raises
    UsageError unless both are commits and BAD comes after GOOD, BenchError if BAD cannot be measured.
    """
    repository = Asked(config, options.out).repository()
    commits = _between(repository, good, bad)

    def compared(commit: str) -> Judged | None:
        try:
            found = judged(config, replace(options, base=good, candidate=commit), quiet=quiet)
        except BenchError as failed:
            print(f"skip        {_line(repository, commit)}: {speakable(str(failed))}", flush=True)
            return None
        if unmeasured := found.gate.effort.details.get("unmeasured"):
            print(f"skip        {_line(repository, commit)}: {speakable(unmeasured['reason'])}", flush=True)
            return None
        print(f"{found.gate.verdict:12}{_line(repository, commit)}", flush=True)
        return found

    def verdict(commit: str) -> GateVerdict:
        found = compared(commit)
        return GateVerdict.ERROR if found is None else found.gate.verdict

    last = compared(commits[-1])
    if last is None:
        raise BenchError(f"--bisect: {bad} cannot be measured")
    if last.gate.verdict != GateVerdict.FAIL:
        print(f"{bad} against {good} is {last.gate.verdict}, not FAIL: there is nothing to look for")
        return last.gate.exit_code
    found = bisect(commits, verdict)
    title = "the first commit beyond the limit" if len(found.suspects) == 1 else "one of these commits"
    print(f"\n{title}, found in {found.steps + 1} gates:")
    for commit in found.suspects:
        print(f"  {_line(repository, commit)}")
    return ExitCode.FAIL


def _between(repository: Repository, good: str, bad: str) -> list[str]:
    """Return the commits after GOOD up to BAD, the oldest first. Raises UsageError if there are none."""
    for ref in (good, bad):
        if repository.find(ref) is None:
            raise UsageError(f"--bisect: {repository.missing(ref)}")
    commits = repository.commits_between(good, bad)
    if not commits:
        raise UsageError(f"--bisect: there are no commits after {good} up to {bad}")
    return commits


def _line(repository: Repository, commit: str) -> str:
    return f"{commit[:12]} {speakable(repository.subject(commit))[:100]}"
