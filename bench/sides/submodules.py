"""Submodules are filled in a checkout, and refused where the commit of a working tree would lack them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench.errors import UsageError
from bench.sides.git import as_variables, git, git_or_none, links

_FIELDS = {"1": 7, "2": 8}  # before the path in a line of `git status --porcelain=2`, after its kind


def fill(root: Path, checkout: Path) -> None:
    """Fill the submodules, from the repository's own copies where it has them: no network is needed.

    Nothing is written to the user's settings, as ``git submodule init`` does: the place that a commit names
    would be the one from which the user's own submodules come, from then on.
    """
    common = git(root, "rev-parse", "--path-format=absolute", "--git-common-dir").removesuffix("\n")
    ours, there = Path(common) / "modules", links(checkout)
    wanted = {name: path for name, path in _declared(checkout).items() if path in there}
    local = {name: path for name, path in wanted.items() if (ours / name).is_dir()}
    active = {f"submodule.{name}.active": "true" for name in wanted}
    places = {f"submodule.{name}.url": str(ours / name) for name in local}
    # Settings may say that a submodule is left empty, or that a command fills it.
    update = ("-c", "submodule.active=.", "submodule", "update", "--checkout")
    # Only the repository's own copies come from this disk: a commit names the places of the others.
    if local:
        allowed = ("-c", "protocol.file.allow=always")
        git(checkout, *allowed, *update, "--", *local.values(), **as_variables({**active, **places}))
    git(checkout, *update, "--recursive", **as_variables(active))


def refuse_dirty(root: Path) -> None:
    """Raise UsageError for changes inside a submodule: the commit of the working tree would lack them."""
    for line in git(root, "status", "--porcelain=2", "--ignore-submodules=none").splitlines():
        kind, _, rest = line.partition(" ")
        if kind not in _FIELDS:
            continue
        _change, state, *others = rest.split(" ", _FIELDS[kind])
        if state.startswith("S") and ("M" in state or "U" in state):
            name = others[-1].partition("\t")[0]
            raise UsageError(
                f"the submodule {name} has changes of its own: commit them there, or give --candidate"
            )


def refuse_embedded(root: Path, added: Collection[str]) -> None:
    """Raise UsageError for a repository that lies among the user's files and is no submodule: the commit of
    the working tree would have an empty directory in its place."""
    for path in sorted(set(added) - set(_declared(root).values())):
        raise UsageError(
            f"{path} is a repository of its own, so git takes none of its files: make it a submodule, let "
            "git ignore it, or give --candidate"
        )


def _declared(place: Path) -> dict[str, str]:
    """Return the path of each submodule in ``.gitmodules`` by its name; nothing if it names none."""
    found = git_or_none(place, "config", "--file", ".gitmodules", "-z", "--get-regexp", r"\.path$") or ""
    entries = (entry.partition("\n") for entry in found.split("\0") if entry)
    return {key.removeprefix("submodule.").removesuffix(".path"): path for key, _line, path in entries}
