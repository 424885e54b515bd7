"""Refuse commits that a gate cannot compare, and those that would take a secret.

What would be the same for both commits although it differs between them is refused, because the gate would
measure one version of it on both sides, and a change of it would pass unmeasured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.config.settings import BuildBlock
from bench.config.spec import Spec
from bench.errors import UsageError
from bench.formatting import one_line
from bench.sides.build import Built
from bench.sides.declared import unread_locks
from bench.sides.differences import flat
from bench.sides.repository import Commit, Repository


def config_is_no_link(repository: Repository, commit: Commit, file: str) -> None:
    """Raise UsageError if the config is a symbolic link: a commit that turns the link could put another
    config, with other limits, in its place."""
    if (target := repository.link(commit, file)) is not None:
        raise UsageError(
            f"{one_line(file)} in {commit.label} is a symbolic link to {one_line(target)}, and a gate on "
            "commits follows none to its config: name the file that it leads to, or put the file in its place"
        )


def files_of_the_working_tree(spec: Spec, where: str, repository: Repository, commit: Commit) -> None:
    """Raise UsageError if the config names a file of the commit by its place in the user's working tree.

    What git does not know there, such as weights that it ignores, belongs to no commit and may be named.
    """
    known = repository.files(commit)
    roots = {str(repository.root), str(repository.root.resolve())}
    pattern = re.compile(rf"({'|'.join(map(re.escape, roots))})(?:/([^\"\s]*))?(?=[\"\s]|$)")
    for key, text in flat(spec.content):
        for root, inside in pattern.findall(text):
            name = inside.rstrip("/")
            if not name or any(file == name or file.startswith(f"{name}/") for file in known):
                raise UsageError(
                    f"{where}: {key}: {Path(root, name)} is in your working tree, so both commits would use "
                    "the same file; write a path relative to the directory in which you call bench"
                )


def locks_that_nothing_reads(sides: Sequence[tuple[Built, BuildBlock]], changed: Sequence[str]) -> None:
    """Raise UsageError if the commits have different lock files of a tool that does not install them."""
    for built, block in sides:
        if found := unread_locks(built.project, changed, built.source, block):
            raise UsageError(
                f"{', '.join(found)} differs between the commits, and no environment is made from it: let "
                "build.commands of the config write a requirements.txt from it (poetry export, pdm export, "
                "pipenv requirements), or say in build.install what pip installs"
            )


def keys_of_another(base: Spec, candidate: Spec, where: str) -> None:
    """Raise UsageError if the candidate's config sends a key to an address to which the base's does not.

    Anybody may propose a commit. Its config could name any variable of the job, and an address of its own.
    """
    known = set(_keys(base))
    for name, url in _keys(candidate):
        if (name, url) not in known:
            raise UsageError(
                f"{where}: the variable {one_line(name)} would be sent to {one_line(url)}, and the config of "
                "the base does not send it there: a change of keys and addresses must be in the base first"
            )


def _keys(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the variable and the address of every row that sends a key."""
    for group in spec.groups:
        for arm in group.arms:
            own = dict(arm.runtime.own)
            if own.get("key_env") is not None:
                yield str(own["key_env"]), str(own.get("url"))
