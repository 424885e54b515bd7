"""Say in words what a gate compared, and what differs between the two sides. The words have no markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bench.errors import IntegrityError
from bench.formatting import count
from bench.gate.findings import Effort
from bench.records import Json

MOST_NAMES = 8  # files, or rows of one side only, that are named; the rest is counted
MOST_FILES = 10**12  # that a commit can have
MOST_CHANGES = 12  # changed keys of the config, or changed packages, that are named
MOST_LETTERS = 80  # characters of a value in the config that are shown


@dataclass(frozen=True)
class Compared:
    """What a gate compared, and what differs between the two sides.

    ``base`` and ``candidate`` name the sides, with their commit or the version of their Python. The full
    hashes are in ``base_commit`` and ``candidate_commit``, which are empty if no commits were compared.
    ``uncommitted``: the candidate was a working tree with changes, whose commit is on no branch.
    ``config`` and ``packages`` have a line for each difference, ``files`` the changed files (``more_files``
    of them are not named), ``alone`` the
    rows that only one side has, and ``notes`` anything else that the reader should know.
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
    more_files: int = 0
    uncommitted: bool = False

    @property
    def sides(self) -> str:
        """Return the names of both sides in one phrase."""
        return f"{self.base} with {self.candidate}"

    @property
    def all_files(self) -> int:
        """Return how many files differ."""
        return len(self.files) + self.more_files

    @property
    def lines(self) -> list[str]:
        """Return a line that names the sides, followed by the lines of ``differing``."""
        return [f"compare {self.sides}", *self.differing]

    @property
    def differing(self) -> list[str]:
        """Return a line for each difference, and one for the rows that were not compared."""
        lines = [*_listed("config", self.config), *_listed("packages", self.packages)]
        if self.files:
            lines.append(f"{count(self.all_files, 'file')}: {few(self.files, self.more_files)}")
        if self.of_commits and not lines:
            lines.append("nothing differs: not a file, not a package, not a key of the config")
        lines += self.notes
        if self.alone:
            lines.append(f"not compared, because only one side has it: {few(self.alone)}")
        return lines


def compared(effort: Effort) -> Compared:
    """Return what a gate compared. Raises IntegrityError if its stored evidence is damaged."""
    try:
        return _COMPARED.get(effort.mode, _interpreters)(effort)
    except (KeyError, TypeError, AttributeError) as bad:
        raise IntegrityError(
            f"the gate's evidence is damaged ({type(bad).__name__}: {bad}); see `bench verify`"
        ) from None


def between_commits(block: Json, base: str, candidate: str) -> Compared:
    """Return what differs between two commits, which are called ``base`` and ``candidate``.

    ``block`` is the differences block of ``run.json``. Raises KeyError or TypeError if it is another block.
    """
    more = block.get("more_files", 0)
    if type(more) is not int or not 0 <= more < MOST_FILES:
        raise TypeError("more_files is no number of files")
    config, packages = (
        tuple(f"{key['what']}: {' → '.join(_short(key['base'], key['candidate']))}" for key in block[kind])
        for kind in ("config", "packages")
    )
    return Compared(
        base, candidate, config=config, packages=packages, files=tuple(block["files"]),
        notes=tuple(_notes(block)), of_commits=True, more_files=more,
    )  # fmt: skip


def _notes(block: Json) -> Iterator[str]:
    """Yield notes about inputs and packages that may differ without a difference in the commits."""
    for changed in block.get("inputs", ()):
        yield f"another file: {changed['what']}" + (f" of {changed['row']}" if changed["row"] else "")
    if block.get("unpinned"):
        alike = (
            "could not have those of the base" if block.get("anew") else "has those of the base where it can"
        )
        yield f"not pinned: {few(block['unpinned'])}; the candidate {alike}"
    if block.get("pointers"):
        yield f"not fetched by Git LFS: {few(block['pointers'])}; `git lfs pull` fetches them"


def _commits(effort: Effort) -> Compared:
    base, candidate = (effort.details["sides"][side] for side in ("base", "candidate"))
    between = between_commits(effort.details["differences"], str(base["label"]), str(candidate["label"]))
    return replace(
        between,
        notes=(*between.notes, *_charged(effort.details.get("charged_threads", {}))),
        base_commit=str(base["commit"]),
        candidate_commit=str(candidate["commit"]),
        uncommitted=candidate.get("uncommitted") is True,
        alone=tuple(effort.details.get("not_compared", ())),
    )


def _charged(threads: Json) -> Iterator[str]:
    """Yield a note for each row whose own code is charged more of the machine than it declares."""
    for row, most in threads.items():
        share = "all threads of the machine" if most is None else count(most, "thread")
        yield (
            f"{row}: charged for {share}, as its base is: nothing makes own code keep to the threads that "
            "its config declares (--limits-from candidate charges those)"
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


def few(names: Sequence[str], besides: int = 0) -> str:
    """Join the first ``MOST_NAMES`` names, and count the rest, with ``besides`` that have no names here."""
    rest = max(len(names) - MOST_NAMES, 0) + besides
    more = f" and {rest} more" if rest else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _listed(kind: str, lines: Sequence[str]) -> list[str]:
    shown = [f"{kind}: {line}" for line in lines[:MOST_CHANGES]]
    return shown if len(lines) <= MOST_CHANGES else [*shown, f"{kind}: {len(lines) - MOST_CHANGES} more"]


def _short(*values: object) -> tuple[str, ...]:
    """Return two values as text, each with at most ``MOST_LETTERS`` letters. If they begin alike, the letters
    around the first one that differs are shown."""
    texts = [str(value) for value in values]
    most = max(map(len, texts))
    alike = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))
    first = max(min(alike - MOST_LETTERS // 2, most - MOST_LETTERS + 1), 0)
    return tuple(_cut(text, first) for text in texts)


def _cut(text: str, first: int) -> str:
    """Return ``text`` from its letter ``first``, with a mark at each end where something is left out."""
    shown = f"…{text[first:]}" if first else text
    return shown if len(shown) <= MOST_LETTERS else f"{shown[: MOST_LETTERS - 1]}…"
