"""Define one side of a gate: a commit, with an environment and a config of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.config.reader import read_build, read_config, read_outline
from bench.config.spec import Spec
from bench.data_paths import standing_in
from bench.errors import BenchError, ConfigError, UsageError
from bench.records import Json
from bench.sides.build import Built, build
from bench.sides.commands import BuildFailed
from bench.sides.config_paths import placed
from bench.sides.differences import (
    MOST_NAMED,
    Change,
    NamedFile,
    identified,
    named,
    of_configs,
    of_inputs,
    of_packages,
    pointers,
)
from bench.sides.ended_early import broken_base, cannot_be_built, no_config
from bench.sides.refused import (
    config_is_no_link,
    files_of_the_working_tree,
    keys_of_another,
    locks_that_nothing_reads,
)
from bench.sides.repository import Commit, Repository, standing

Say = Callable[[str], None]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Side:
    """A commit that is ready to be measured.

    ``written`` is its config as it stands in the commit; in ``spec`` the arms run in its environment.
    ``directory`` is where its processes stand, below a checkout in the place of the repository at ``root``.
    """

    commit: Commit
    built: Built
    written: Spec
    spec: Spec
    directory: Path
    root: Path

    def standing(self) -> AbstractContextManager[None]:
        """Stand where its processes do: what is read by name is then that of its commit."""
        return standing_in(self.directory, self.root, self.built.source)

    def to_json(self) -> Json:
        """Return what the journal's head says about the side."""
        return {
            **self.commit.to_json(),
            "environment": self.built.home.name,
            "packages": identified(self.built.packages),
        }


@dataclass(frozen=True)
class Sides:
    """The base and the candidate of a gate, and what differs between them."""

    base: Side
    candidate: Side
    config: tuple[Change, ...]
    packages: tuple[Change, ...]
    files: tuple[str, ...]
    inputs: tuple[NamedFile, ...] = ()
    pointers: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return what the journal's head says about the sides."""
        return {
            "config": [asdict(one) for one in self.config],
            "packages": [asdict(one) for one in self.packages],
            **named(self.files),
            "inputs": [asdict(one) for one in self.inputs],
            "unpinned": sorted({*self.base.built.unpinned, *self.candidate.built.unpinned}),
            "anew": self.candidate.built.anew,
            "pointers": list(self.pointers[:MOST_NAMED]),
        }


@dataclass(frozen=True)
class Asked:
    """What the user asks of the commits: the config, ``--set`` and ``--only``, and where results go."""

    config: Path
    out: Path
    overrides: Sequence[str] = ()
    only: Sequence[str] = ()

    def repository(self) -> Repository:
        """Return the repository that the config lies in. Raises UsageError if there is none."""
        found = Repository.around(self.config.absolute())
        if found is None and (why := Repository.refused(self.config.absolute())):
            raise UsageError(f"{self.config}: there are no commits to compare: {why}")
        if found is None:
            raise UsageError(f"{self.config} is in no git repository, so there are no commits to compare")
        return found

    def file(self, repository: Repository) -> Path:
        """Return the config's path within the repository. A link at its end is not followed: a commit must
        not be able to put another config in its place."""
        place = self.config.absolute().parent.resolve()
        return (place / self.config.name).relative_to(repository.root.resolve())

    def commit(self, option: str, ref: str) -> Commit:
        """Return the commit that the user gave by ``option``. Raises UsageError if there is none."""
        if not ref.strip():  # a variable of a script that was not set
            raise UsageError(f"{option} is empty: name a commit, or leave it out")
        repository = self.repository()
        commit = repository.find(ref, self.out)
        if commit is None and len(Path(ref).parts) > 1 and Path(ref).parent.is_dir():
            raise BenchError(
                f"{option} {ref}: no run or interpreter there; nothing to compare with, nothing measured"
            )
        if commit is None:
            raise UsageError(f"{option} {ref}: {repository.missing(ref)}")
        if not self.config.is_file():
            raise UsageError(f"{self.config}: there is no such file")
        return commit


def sides_of_commits(asked: Asked, base: str, candidate: str, say: Say) -> Sides:
    """Check out and build both sides of a config, each with its own version of it.

    Raises UsageError if there is no repository, no such commit, no such config in the candidate, or no limit,
    and Unmeasured if the base has no such config or a wrong one, or if a side cannot be built.
    """
    repository = asked.repository()
    old, new = asked.commit("--base", base), asked.commit("--candidate", candidate)
    outline, wrong = _tried(lambda: _outline(asked, repository, old))
    of_candidate = _outline(asked, repository, new)
    limits = next((one for one in (outline, of_candidate) if one is not None and one.gate), None)
    if limits is None and (outline or of_candidate):
        raise UsageError(f"{asked.config}: no limits; give a gate block, see configs/ci.yaml")
    base_side, broken = _tried(lambda: side_of(asked, "--base", base, say) if outline is not None else None)
    try:
        open_versions = base_side.built.open_versions if base_side else None
        candidate_side = side_of(asked, "--candidate", candidate, say, open_versions)
    except BuildFailed as bad:
        assert limits is not None, "what is built has a config"
        raise cannot_be_built(bad, limits, repository, old, new) from None
    if (bad_base := wrong or broken) is not None:
        spec = replace(candidate_side.spec, groups=(), gate=limits.gate if limits else ())
        raise broken_base(bad_base, spec, repository, old, new, candidate_side.standing)
    if base_side is None:
        file = asked.file(repository).as_posix()
        spec = replace(candidate_side.spec, groups=())
        raise no_config(file, spec, repository, old, new, candidate_side.standing)
    return _compared(base_side, candidate_side, repository)


def _tried(make: Callable[[], Found]) -> tuple[Found | None, BuildFailed | ConfigError | None]:
    """Return what is made of the base, or why that is not possible: the candidate may be what repairs it."""
    try:
        return make(), None
    except (BuildFailed, ConfigError) as bad:
        return None, bad


def _outline(asked: Asked, repository: Repository, commit: Commit) -> Spec | None:
    """Return the config of a commit without reading the files that it names; None if it has no such
    config."""
    file = asked.file(repository).as_posix()
    config_is_no_link(repository, commit, file)
    if not repository.is_file(commit, file):
        return None
    return read_outline(repository.text(commit, file), f"{file} in {commit.label}", asked.overrides)


def _compared(base: Side, candidate: Side, repository: Repository) -> Sides:
    """Look for everything that differs between two sides. Raises UsageError for what neither has in use, and
    for keys that only the candidate sends."""
    files = tuple(repository.changed_files(base.commit, candidate.commit))
    keys_of_another(base.spec, candidate.spec, f"the config in {candidate.commit.label}")
    locks_that_nothing_reads([(side.built, side.written.build) for side in (base, candidate)], files)
    return Sides(
        base=base,
        candidate=candidate,
        config=of_configs(base.spec, candidate.spec),
        packages=of_packages(base.built.packages, candidate.built.packages),
        files=files,
        inputs=of_inputs(base.spec, candidate.spec),
        pointers=tuple(sorted({*pointers(base.built.source), *pointers(candidate.built.source)})),
    )


def side_of(asked: Asked, option: str, ref: str, say: Say, like: Mapping[str, str] | None = None) -> Side:
    """Check out and build one commit, which the user gave by ``option``.

    ``like`` has versions for packages that it does not pin.
    """
    if builds := [one for one in asked.overrides if one.strip().startswith("build")]:
        raise UsageError(f"--set {builds[0]}: each commit is built as its own config says")
    repository, commit = asked.repository(), asked.commit(option, ref)
    file = asked.file(repository)
    config_is_no_link(repository, commit, file.as_posix())
    if not repository.is_file(commit, file.as_posix()):
        raise UsageError(f"{option} {ref}: there is no file {file} in {commit.label}, so nothing to compare")

    def read(source: Path) -> Spec:
        with _standing(repository, source):
            found = _read(source, file, commit, asked)
        files_of_the_working_tree(found, f"{file} in {commit.label}", repository, commit)
        return found

    # The ``build`` block is read before the rest: it says how to make the environment. What its commands make
    # may be named in the rest; without commands, nothing is installed for a config that is wrong.
    block = read_build(repository.text(commit, str(file)), f"{file} in {commit.label}")
    built = build(repository, commit, file.parent, block, say, like, None if block.commands else read)
    spec = read(built.source)
    with _standing(repository, built.source) as directory:
        return Side(commit, built, spec, placed(spec, built, directory), directory, repository.root)


@contextmanager
def _standing(repository: Repository, source: Path) -> Iterator[Path]:
    """Stand in the directory of a checkout in which the side's processes stand, and yield it."""
    directory = source / standing(repository)
    directory = directory if directory.is_dir() else source
    with standing_in(directory, repository.root, source):
        yield directory


def _read(source: Path, file: Path, commit: Commit, asked: Asked) -> Spec:
    """Read the config of a checkout. An error in it is told of the commit's file, and names another file of
    the commit by its path there, not by that in the cache."""
    try:
        return read_config(source / file, asked.overrides, asked.only)
    except ConfigError as bad:
        for one in (bad, *bad.others):
            one.file = f"{file} in {commit.label}"
            for top in {f"{source}/", f"{source.resolve()}/"}:
                one.problem = one.problem.replace(top, "")
        raise
