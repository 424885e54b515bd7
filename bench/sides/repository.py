"""Use the user's git repository: commits, the working tree as a commit, and checkouts of them in the cache.

Nothing in the user's working tree is written. A checkout is a worktree of git's own, so tags, filters and
submodules work in it as they do in the repository.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import short_name
from bench.machine.children import last_lines
from bench.models.disk_cache import cache_root
from bench.records import Json
from bench.sides import submodules
from bench.sides.git import git, git_or_none, links, run
from bench.store.directories import delete
from bench.store.scratch_directory import scratch_directory

WORKTREE = "worktree"  # how a user names the files as they are, instead of a commit
_OF_CHECKOUTS = r"^(filter\..*|core\.(autocrlf|eol|symlinks|attributesfile))$"
_COMMIT = re.compile(r"[0-9a-f]{40,64}\n")


@dataclass(frozen=True)
class Commit:
    """A commit, and what the user called it. ``tree`` is git's digest of all its files.

    ``uncommitted``: it was made of a working tree with changes, and is on no branch.
    """

    label: str
    commit: str
    tree: str
    uncommitted: bool = False

    def to_json(self) -> Json:
        """Return what the journal's head says about the commit of a side."""
        return {"label": self.label, "commit": self.commit} | (
            {"uncommitted": True} if self.uncommitted else {}
        )


@dataclass(frozen=True)
class Repository:
    """A git repository by the top directory of its working tree."""

    root: Path

    @classmethod
    def around(cls, path: Path) -> Repository | None:
        """Return the repository that ``path`` lies in, or None."""
        place = path if path.is_dir() else path.parent
        found = git_or_none(place, "rev-parse", "--show-toplevel")
        root = Path(found.removesuffix("\n")) if found and found.strip() else None
        # With core.worktree the files of a repository lie elsewhere.
        inside = root is not None and place.resolve().is_relative_to(root.resolve())
        return cls(root) if root is not None and inside else None

    @staticmethod
    def refused(path: Path) -> str:
        """Say why git does not use the repository around ``path``: it is not installed, or the repository
        belongs to another user, as in many containers. '' if there is no repository."""
        place = path if path.is_dir() else path.parent
        try:
            run(place, ("rev-parse", "--show-toplevel"), {"LC_ALL": "C"})
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
        found = git_or_none(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        if not found or not _COMMIT.fullmatch(found):  # ^HEAD is all but a commit
            return None
        commit = found.strip()
        short = commit[:12]
        return self._commit(short if commit.startswith(ref) else f"{short_name(ref)} ({short})", commit)

    def missing(self, ref: str) -> str:
        """Say why ``ref`` names no commit, with what a CI job most often has to change."""
        if (git_or_none(self.root, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
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

    def link(self, commit: Commit, file: str) -> str | None:
        """Return where a symbolic link of a commit leads to; None if there is no link of this name."""
        is_link = self._git("ls-tree", commit.tree, "--", file).startswith("120")
        return self.text(commit, file) if is_link else None

    def files(self, commit: Commit) -> list[str]:
        """Return the names of all files of a commit."""
        return [
            name for name in self._git("ls-tree", "-r", "-z", "--name-only", commit.tree).split("\0") if name
        ]

    def changed_files(self, base: Commit, candidate: Commit) -> list[str]:
        """Return the names of the files that differ between two commits. A file with another name is two of
        them, and a submodule is one even if ``.gitmodules`` wants it ignored."""
        how = ("-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none")
        return [name for name in self._git("diff-tree", *how, base.tree, candidate.tree).split("\0") if name]

    def check_out(self, commit: Commit, to: Path) -> None:
        """Write a commit's files with its submodules to the directory ``to``, which must not exist. They are
        all of its files, even if the user's working tree is sparse."""
        whole = ("-c", "core.sparseCheckout=false")
        self._git(*whole, "worktree", "add", "--force", "--detach", "--quiet", str(to), commit.commit)
        if (to / ".gitmodules").is_file():
            submodules.fill(self.root, to)

    def settings(self) -> list[str]:
        """Return the settings of git by which the same commit is checked out as other files: filters, such as
        that of Git LFS, and the ends of lines."""
        found = git_or_none(self.root, "config", "-z", "--get-regexp", _OF_CHECKOUTS) or ""
        return [one for one in found.split("\0") if one]

    def remove(self, checkout: Path) -> None:
        """Delete a checkout, whole or not, and what git remembers of it."""
        git_or_none(self.root, "worktree", "remove", "--force", "--force", str(checkout))
        delete(checkout)

    def let_go(self, checkout: Path) -> None:
        """Make a checkout plain files that git does not know of: nothing of it stays in the repository."""
        if not (checkout / ".git").is_file():
            return
        known = git_or_none(checkout, "rev-parse", "--path-format=absolute", "--git-dir")
        (checkout / ".git").unlink(missing_ok=True)
        if known and Path(known.strip()).parent.name == "worktrees":
            delete(Path(known.strip()))

    # ---- inside ----------------------------------------------------------------------------------

    def _commit(self, label: str, commit: str) -> Commit:
        return Commit(label, commit, self._git("rev-parse", f"{commit}^{{tree}}").strip())

    def _working_tree(self, leave_out: Path | None) -> Commit:
        """Return HEAD if nothing differs from it, else a commit of the files as they are.

        Files that git ignores are left out, and so is the cache of this tool. The commit is on no branch; git
        deletes it in time.
        """
        head = self.find("HEAD")
        if head is None:
            raise UsageError(f"the repository at {self.root} has no commit yet")
        submodules.refuse_dirty(self.root)
        with scratch_directory("index") as place:
            index = {"GIT_INDEX_FILE": str(place / "index")}
            self._git("read-tree", "HEAD", **index)
            before = links(self.root, **index)
            left_out = [*self._without(leave_out), *self._without(cache_root())]
            self._git("add", "--all", ".", *left_out, **index)
            submodules.refuse_embedded(self.root, links(self.root, **index) - before)
            tree = self._git("write-tree", **index).strip()
        if tree == head.tree:
            return Commit(f"the working tree ({head.commit[:12]})", head.commit, tree)
        name = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "bench")
        name |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "bench@localhost")
        name |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2000-01-01T00:00:00Z")
        made = self._git("commit-tree", tree, "-p", head.commit, "-m", "the working tree", **name).strip()
        label = f"the working tree ({head.commit[:12]} with changes)"
        return Commit(label, made, tree, uncommitted=True)

    def _without(self, place: Path | None) -> list[str]:
        """Return what makes git leave out a directory, if it lies in this working tree."""
        try:
            inside = place and place.resolve().relative_to(self.root.resolve())
        except ValueError:
            return []
        if (
            not inside
            or inside == Path()
            or git_or_none(self.root, "check-ignore", "--quiet", str(inside)) is not None
        ):
            return []  # git refuses to leave out what it ignores anyway
        return [f":(exclude,literal){inside}"]

    def _git(self, *arguments: str, **variables: str) -> str:
        return git(self.root, *arguments, **variables)


def standing(repository: Repository) -> Path:
    """Return the current directory within the repository, or '.' if it is outside."""
    try:
        return Path.cwd().resolve().relative_to(repository.root.resolve())
    except ValueError:
        return Path()
