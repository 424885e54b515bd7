"""One side of a gate: a commit, with an environment and a config of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.config.reader import read_build, read_config
from bench.config.spec import Arm, Group, Place, Spec
from bench.environments import interpreter
from bench.errors import BenchError, ConfigError, UsageError
from bench.models.reference import LocalPath
from bench.records import Json
from bench.sides.build import Built, build
from bench.sides.differences import Change, measured, of_configs, of_packages
from bench.sides.repository import Commit, Repository, standing

Say = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """A commit that is ready to be measured.

    ``written`` is its config as it stands in the commit; in ``spec`` the arms run in its environment.
    """

    commit: Commit
    built: Built
    written: Spec
    spec: Spec

    def to_json(self) -> Json:
        """Return what the journal's head says about the side."""
        return {"label": self.commit.label, "commit": self.commit.commit, "environment": self.built.home.name}


@dataclass(frozen=True)
class Sides:
    """The base and the candidate of a gate, and what differs between them."""

    base: Side
    candidate: Side
    config: tuple[Change, ...]
    packages: tuple[Change, ...]
    files: tuple[str, ...]

    @property
    def nothing_differs(self) -> bool:
        """Return whether the sides have the same files, so that a gate could only measure its own noise."""
        return not (self.config or self.packages or self.files)

    def to_json(self) -> Json:
        """Return what the journal's head says about the sides."""
        return {
            "config": [asdict(one) for one in self.config],
            "config_measured": any(measured(change) for change in self.config),
            "packages": [asdict(one) for one in self.packages],
            "files": list(self.files),
        }


def sides_of_commits(
    config: Path, base: str, candidate: str, overrides: Sequence[str], only: Sequence[str], say: Say
) -> Sides:
    """Check out and build both sides of a config, each with its own version of it.

    Raises UsageError if there is no repository, no such commit, or no such config in one of them.
    """
    repository = Repository.around(config.absolute())
    if repository is None:
        raise UsageError(
            f"--base {base}: neither an interpreter nor a run, and {config} is in no git repository"
        )
    file = config.resolve().relative_to(repository.root.resolve())
    found = []
    for option, ref in (("--base", base), ("--candidate", candidate)):
        commit = repository.find(ref)
        if commit is None and len(Path(ref).parts) > 1 and Path(ref).parent.is_dir():
            raise BenchError(
                f"{option} {ref}: no run or interpreter there; nothing to compare with, nothing measured"
            )
        if commit is None:
            raise UsageError(f"{option} {ref}: {repository.missing(ref)}")
        if file.as_posix() not in repository.files(commit):
            raise UsageError(f"{option} {ref}: there is no {file} in {commit.label}, so nothing to compare")
        found.append(commit)
    sides = [_side(repository, commit, file, overrides, only, say) for commit in found]
    return Sides(
        base=sides[0],
        candidate=sides[1],
        config=of_configs(sides[0].spec, sides[1].spec),
        packages=of_packages(sides[0].built.packages, sides[1].built.packages),
        files=tuple(repository.changed_files(found[0], found[1])),
    )


def _side(
    repository: Repository,
    commit: Commit,
    file: Path,
    overrides: Sequence[str],
    only: Sequence[str],
    say: Say,
) -> Side:
    """Build one side. The ``build`` block is read before the rest: it says how to make the environment."""
    name = f"{file} in {commit.label}"
    built = build(repository, commit, file.parent, read_build(repository.text(commit, str(file)), name), say)
    directory = built.source / standing(repository)
    directory = directory if directory.is_dir() else built.source
    try:
        with contextlib.chdir(directory):
            spec = read_config(built.source / file, overrides, only)
    except ConfigError as bad:
        for one in (bad, *bad.others):
            one.file = name
        raise
    return Side(commit, built, spec, _moved(spec, built, directory))


def _moved(spec: Spec, built: Built, directory: Path) -> Spec:
    """Return the config with its arms in the side's environment and its paths below the side's directory."""
    groups = tuple(
        Group(
            group.label,
            _arm(group.baseline, built, directory),
            tuple(_arm(one, built, directory) for one in group.variants),
        )
        for group in spec.groups
    )
    return replace(spec, groups=groups)


def _arm(arm: Arm, built: Built, directory: Path) -> Arm:
    runtime, workload, model = arm.runtime, arm.workload, arm.model
    if runtime.python is not None:
        runtime = runtime.model_copy(update={"python": str(directory / runtime.python)})
    elif interpreter(runtime.name, None) is None:  # an engine with an environment of its own keeps it
        runtime = runtime.model_copy(update={"python": str(built.python)})
    if workload.file is not None:
        workload = workload.model_copy(update={"file": str(directory / workload.file)})
    if isinstance(model, LocalPath):
        model = LocalPath(directory / model.path)
    place = Place(str(directory), (("source", str(built.source)), ("packages", str(built.packages))))
    return replace(arm, runtime=runtime, workload=workload, model=model, place=place)
