"""Use the user's git repository: commits, the working tree as a commit, and checkouts of them in the cache.

Nothing in the user's working tree is written. A checkout is a worktree of git's own, so tags, filters and
submodules work in it as they do in the repository.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.machine.children import environment, last_lines
from bench.machine.family import run_whole

WORKTREE = "worktree"  # how a user names the files as they are, instead of a commit
GIT_S = 600
# Nothing of the repository is started: no hooks, no monitor of files, no helper as a protocol.
QUIET = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
)  # fmt: skip
ZERO = "0" * 40


@dataclass(frozen=True)
class Commit:
    """A commit, and what the user called it. ``tree`` is git's digest of all its files."""

    label: str
    commit: str
    tree: str


@dataclass(frozen=True)
class Repository:
    """A git repository by the top directory of its working tree."""

    root: Path

    @classmethod
    def around(cls, path: Path) -> Repository | None:
        """Return the repository that ``path`` lies in, or None."""
        place = path if path.is_dir() else path.parent
        found = _git_or_none(place, "rev-parse", "--show-toplevel")
        return cls(Path(found.strip())) if found and found.strip() else None

    @staticmethod
    def refused(path: Path) -> str:
        """Say why git does not use the repository around ``path``: it is not installed, or the repository
        belongs to another user, as in many containers. '' if there is no repository."""
        place = path if path.is_dir() else path.parent
        try:
            _run(place, ("rev-parse", "--show-toplevel"), {"LC_ALL": "C"})
        except OSError as bad:
            return f"git cannot be started ({bad.strerror})"
        except subprocess.SubprocessError as bad:
            said = last_lines(bad)
            return "" if "not a git repository" in said else said
        return ""

    def find(self, ref: str, leave_out: Path | None = None) -> Commit | None:
        """Return the commit that ``ref`` names, or None. ``worktree`` is the files as they are now, without
        new ones below ``leave_out``: the results of a gate are no part of what it compares."""
        if ref == WORKTREE:
            return self._working_tree(leave_out)
        found = _git_or_none(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        if not found:
            return None
        commit = found.strip()
        short = commit[:12]
        return self._commit(short if commit.startswith(ref) else f"{ref} ({short})", commit)

    def missing(self, ref: str) -> str:
        """Say why ``ref`` names no commit, with what a CI job most often has to change."""
        if (_git_or_none(self.root, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
            return (
                f"{ref} is not in this clone, which is shallow: fetch the history "
                "(actions/checkout: fetch-depth: 0; GitLab: GIT_DEPTH: 0; or git fetch --unshallow)"
            )
        return f"{ref} is no commit, branch or tag of the repository at {self.root}"

    def commits_between(self, good: str, bad: str) -> list[str]:
        """Return the commits after ``good`` up to ``bad``, the oldest first, along the first parents."""
        found = self._git("rev-list", "--reverse", "--first-parent", "--end-of-options", f"{good}..{bad}")
        return found.split()

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self._git("show", "--no-patch", "--format=%s", commit).strip()

    def text(self, commit: Commit, file: str) -> str:
        """Return the content of a file of a commit."""
        return self._git("show", f"{commit.tree}:{file}")

    def is_file(self, commit: Commit, file: str) -> bool:
        """Return whether a commit has an ordinary file of this name: no link, no directory, no submodule."""
        return self._git("ls-tree", commit.tree, "--", file).startswith("100")

    def files(self, commit: Commit) -> list[str]:
        """Return the names of all files of a commit."""
        return [
            name for name in self._git("ls-tree", "-r", "-z", "--name-only", commit.tree).split("\0") if name
        ]

    def changed_files(self, base: Commit, candidate: Commit) -> list[str]:
        """Return the names of the files that differ between two commits."""
        return [
            name
            for name in self._git("diff", "--name-only", "-z", base.tree, candidate.tree).split("\0")
            if name
        ]

    def check_out(self, commit: Commit, to: Path) -> None:
        """Write a commit's files with its submodules to the directory ``to``, which must not exist."""
        self._git("worktree", "add", "--force", "--detach", "--quiet", str(to), commit.commit)
        if (to / ".gitmodules").is_file():
            self._submodules(to)

    def remove(self, checkout: Path) -> None:
        """Delete a checkout, whole or not, and what git remembers of it."""
        _git_or_none(self.root, "worktree", "remove", "--force", "--force", str(checkout))
        shutil.rmtree(checkout, ignore_errors=True)

    def let_go(self, checkout: Path) -> None:
        """Make a checkout plain files that git does not know of: nothing of it stays in the repository."""
        if not (checkout / ".git").is_file():
            return
        known = _git_or_none(checkout, "rev-parse", "--path-format=absolute", "--git-dir")
        (checkout / ".git").unlink(missing_ok=True)
        if known and Path(known.strip()).parent.name == "worktrees":
            shutil.rmtree(known.strip(), ignore_errors=True)

    # ---- inside ----------------------------------------------------------------------------------

    def _commit(self, label: str, commit: str) -> Commit:
        return Commit(label, commit, self._git("rev-parse", f"{commit}^{{tree}}").strip())

    def _working_tree(self, leave_out: Path | None) -> Commit:
        """Return HEAD if nothing differs from it, else a commit of the files as they are.

        Files that git ignores are left out. The commit is on no branch; git deletes it in time.
        """
        head = self.find("HEAD")
        if head is None:
            raise UsageError(f"the repository at {self.root} has no commit yet")
        self._refuse_dirty_submodules()
        with tempfile.TemporaryDirectory() as place:
            index = {"GIT_INDEX_FILE": str(Path(place) / "index")}
            self._git("read-tree", "HEAD", **index)
            self._git("add", "--all", ".", *self._without(leave_out), **index)
            tree = self._git("write-tree", **index).strip()
        if tree == head.tree:
            return Commit(f"the working tree ({head.commit[:12]})", head.commit, tree)
        name = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "bench")
        name |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "bench@localhost")
        name |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2000-01-01T00:00:00Z")
        made = self._git("commit-tree", tree, "-p", head.commit, "-m", "the working tree", **name).strip()
        return Commit(f"the working tree ({head.commit[:12]} with changes)", made, tree)

    def _refuse_dirty_submodules(self) -> None:
        """Raise UsageError for changes inside a submodule: the commit of the working tree would lack them."""
        for line in self._git("status", "--porcelain=2", "--ignore-submodules=none").splitlines():
            kind, _, rest = line.partition(" ")
            state, *others = rest.split(" ")[1:] if kind in "12" else ("N...",)
            if state.startswith("S") and ("M" in state or "U" in state):
                name = others[-1]
                raise UsageError(
                    f"the submodule {name} has changes of its own: commit them there, or give --candidate"
                )

    def _without(self, place: Path | None) -> list[str]:
        """Return what makes git leave out a directory, if it lies in this working tree."""
        try:
            inside = place and place.resolve().relative_to(self.root.resolve())
        except ValueError:
            return []
        if (
            not inside
            or inside == Path()
            or _git_or_none(self.root, "check-ignore", "--quiet", str(inside)) is not None
        ):
            return []  # git refuses to leave out what it ignores anyway
        return [f":(exclude,literal){inside}"]

    def _submodules(self, checkout: Path) -> None:
        """Fill the submodules, from the repository's own copies where it has them: no network is needed."""
        ours = Path(self._git("rev-parse", "--path-format=absolute", "--git-common-dir").strip()) / "modules"
        names = _git(
            checkout, "config", "--file", ".gitmodules", "--name-only", "--get-regexp", r"\.path$"
        ).split()
        local, paths = [], []
        for name in (key.removeprefix("submodule.").removesuffix(".path") for key in names):
            if (ours / name).is_dir():
                local += ["-c", f"submodule.{name}.url={ours / name}"]
                paths.append(
                    _git(checkout, "config", "--file", ".gitmodules", f"submodule.{name}.path").strip()
                )
        # Only the repository's own copies come from this disk: a commit names the places of the others.
        if paths:
            allowed = ("-c", "protocol.file.allow=always")
            _git(checkout, *allowed, *local, "submodule", "update", "--init", "--", *paths)
        _git(checkout, "submodule", "update", "--init", "--recursive")

    def _git(self, *arguments: str, **variables: str) -> str:
        return _git(self.root, *arguments, **variables)


def _run(
    place: Path, arguments: tuple[str, ...], variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(place), *QUIET, *arguments]
    known = environment("SSH_AUTH_SOCK", "SSH_AGENT_PID") | {"GIT_TERMINAL_PROMPT": "0", **variables}
    return run_whole(command, known, GIT_S, may_leave=True)


def _git(place: Path, *arguments: str, **variables: str) -> str:
    """Return git's output. Raises BenchError with the last lines that it printed."""
    try:
        return _run(place, arguments, variables).stdout
    except (OSError, subprocess.SubprocessError) as bad:
        raise BenchError(f"git {arguments[0]} failed in {place}: {last_lines(bad)}") from None


def _git_or_none(place: Path, *arguments: str) -> str | None:
    try:
        return _run(place, arguments, {}).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def standing(repository: Repository) -> Path:
    """Return the current directory within the repository, or '.' if it is outside."""
    try:
        return Path.cwd().resolve().relative_to(repository.root.resolve())
    except ValueError:
        return Path()
