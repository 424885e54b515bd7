"""End a gate on commits before anything is measured, with a verdict that a CI job can show."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.config.spec import Spec
from bench.errors import BenchError, ConfigError
from bench.gate.findings import BROKEN, NO_BASE, GateVerdict
from bench.records import Json
from bench.sides.commands import BuildFailed
from bench.sides.differences import named
from bench.sides.repository import Commit, Repository

LOG = "logs/build.log"  # in the run's directory


@dataclass(eq=False)
class Unmeasured(BenchError):
    """Nothing can be measured: a side cannot be built, or the base has no such config.

    ``spec`` is a config without rows, whose limits count. ``files`` are the files that differ between the
    commits. ``log`` is the file of what a build printed. Inside of ``standing()`` the current directory is
    the one of the config, so that prices are read there too.
    """

    verdict: GateVerdict
    reason: str
    spec: Spec
    base: Commit
    candidate: Commit
    files: tuple[str, ...]
    log: Path | None = None
    standing: Callable[[], AbstractContextManager[object]] = nullcontext

    def __str__(self) -> str:
        return self.reason

    def head(self) -> Json:
        """Return what the journal's head says about such a gate."""
        sides = {"base": self.base, "candidate": self.candidate}
        return {
            "mode": "commits",
            "sides": {name: side.to_json() for name, side in sides.items()},
            "differences": {"config": [], "packages": [], **named(self.files)},
            "unmeasured": {"verdict": str(self.verdict), "reason": self.reason},
        }


def cannot_be_built(
    bad: BuildFailed, spec: Spec, repository: Repository, base: Commit, candidate: Commit
) -> Unmeasured:
    """Return the end of a gate one of whose sides cannot be built."""
    files = tuple(repository.changed_files(base, candidate))
    reason = str(bad).replace(str(bad.log), LOG)  # its path within the run's directory
    return Unmeasured(GateVerdict.ERROR, reason, spec, base, candidate, files, bad.log)


def broken_base(
    bad: BuildFailed | ConfigError,
    spec: Spec,
    repository: Repository,
    base: Commit,
    candidate: Commit,
    standing: Callable[[], AbstractContextManager[object]],
) -> Unmeasured:
    """Return the end of a gate whose base cannot be built, or has a wrong config, while its candidate can be
    built and has a sound one."""
    log = bad.log if isinstance(bad, BuildFailed) else None
    why = str(bad).replace(str(log), LOG)
    reason = f"{BROKEN}: {why}. The candidate can be built, and its config is sound; it was not run"
    files = tuple(repository.changed_files(base, candidate))
    verdict = GateVerdict.BROKEN_BASE
    return Unmeasured(verdict, reason, spec, base, candidate, files, log, standing)


def no_config(
    file: str,
    spec: Spec,
    repository: Repository,
    base: Commit,
    candidate: Commit,
    standing: Callable[[], AbstractContextManager[object]],
) -> Unmeasured:
    """Return the end of a gate whose base does not have the config yet, because the candidate adds it."""
    reason = (
        f"{NO_BASE}: {base.label} has no file {file}. The candidate can be built, and its config is sound; "
        "its limits hold for the commits that come after it"
    )
    files = tuple(repository.changed_files(base, candidate))
    verdict = GateVerdict.UNREACHED
    return Unmeasured(verdict, reason, spec, base, candidate, files, standing=standing)
