"""What a gate compared, and what differs between the two sides, in words without markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.errors import IntegrityError
from bench.gate.verdict import Effort
from bench.records import Json

MOST_NAMES = 8  # files that are named, and rows of one side only; the rest is counted
MOST_CHANGES = 12  # keys of the config, or packages
MOST_LETTERS = 80  # of a value in the config


@dataclass(frozen=True)
class Compared:
    """What a gate compared, and what differs between the two sides.

    ``base`` and ``candidate`` are the words for the sides, with their commit or the version of their Python.
    The commits are whole, and empty if no commits were compared. ``config`` and ``packages`` hold a line for
    each difference, ``alone`` the rows that only one side has, ``notes`` what else should be known.
    """

    base: str
    candidate: str
    base_commit: str = ""
    candidate_commit: str = ""
    config: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    of_commits: bool = False

    @property
    def sides(self) -> str:
        """Return both sides in a few words."""
        return f"{self.base} with {self.candidate}"

    @property
    def lines(self) -> list[str]:
        """Return a line for the sides, and those of ``differing``."""
        return [f"compare {self.sides}", *self.differing]

    @property
    def differing(self) -> list[str]:
        """Return a line for each difference, and one for the rows that were not compared."""
        found = [*_listed("config", self.config), *_listed("packages", self.packages)]
        if self.files:
            found.append(f"{counted('file', len(self.files))}: {few(self.files)}")
        if self.of_commits and not found:
            found.append("nothing differs: not a file, not a package, not a key of the config")
        found += self.notes
        if self.alone:
            found.append(f"not compared, because only one side has it: {few(self.alone)}")
        return found


def compared(effort: Effort) -> Compared:
    """Return what a gate compared. Raises IntegrityError if its evidence is not what a gate writes."""
    try:
        return _COMPARED.get(effort.mode, _interpreters)(effort)
    except (KeyError, TypeError, AttributeError) as bad:
        raise IntegrityError(
            f"the gate's evidence is damaged ({type(bad).__name__}: {bad}); see `bench verify`"
        ) from None


def between_commits(found: Json, base: str, candidate: str) -> Compared:
    """Return what differs between two commits; ``found`` is the block of ``run.json``, the others are names.

    Raises KeyError and TypeError if it is another block.
    """
    config, packages = (
        tuple(f"{one['what']}: {_short(one['base'])} → {_short(one['candidate'])}" for one in found[kind])
        for kind in ("config", "packages")
    )
    return Compared(
        base, candidate, config=config, packages=packages, files=tuple(found["files"]),
        notes=tuple(_notes(found)), of_commits=True,
    )  # fmt: skip


def _notes(found: Json) -> Iterator[str]:
    """Yield what should be known of both commits besides their differences."""
    for one in found.get("inputs", ()):
        yield f"another file: {one['what']}" + (f" of {one['row']}" if one["row"] else "")
    if found.get("unpinned"):
        alike = (
            "could not have those of the base" if found.get("anew") else "has those of the base where it can"
        )
        yield f"not pinned: {few(found['unpinned'])}; the candidate {alike}"
    if found.get("pointers"):
        yield f"not fetched by Git LFS: {few(found['pointers'])}; `git lfs pull` fetches them"


def _commits(effort: Effort) -> Compared:
    base, candidate = (effort.details["sides"][side] for side in ("base", "candidate"))
    return replace(
        between_commits(effort.details["differences"], str(base["label"]), str(candidate["label"])),
        base_commit=str(base["commit"]),
        candidate_commit=str(candidate["commit"]),
        alone=tuple(effort.details.get("not_compared", ())),
    )


def _interpreters(effort: Effort) -> Compared:
    sides = effort.details.get("sides", {})
    base, candidate = (
        f"{sides[side]['label']} (Python {sides[side]['python']})" if side in sides else f"the {side}"
        for side in ("base", "candidate")
    )
    return Compared(base, candidate)


def _stored(effort: Effort) -> Compared:
    return Compared(f"run {effort.details['base']}", f"run {effort.details['run_id']}")


def _within(effort: Effort) -> Compared:
    run = effort.details.get("run_id")
    return Compared("the baseline", f"the variants of {f'run {run}' if run else 'the same config'}")


_COMPARED = {
    "commits": _commits, "code": _interpreters, "stored": _stored, "config": _within, "run": _within,
}  # fmt: skip


def few(names: Sequence[str]) -> str:
    """Name the first ``MOST_NAMES`` and count the rest."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def counted(noun: str, count: int) -> str:
    """Return ``1 file`` or ``3 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(kind: str, lines: Sequence[str]) -> list[str]:
    shown = [f"{kind}: {line}" for line in lines[:MOST_CHANGES]]
    return shown if len(lines) <= MOST_CHANGES else [*shown, f"{kind}: {len(lines) - MOST_CHANGES} more"]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
