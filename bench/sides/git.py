"""Git itself, so that nothing is started which a repository holds, and a commit is what its name says."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BenchError
from bench.formatting import MIB
from bench.machine.children import environment, last_lines
from bench.machine.process_tree import MOST_BYTES, printed_too_much, run_whole

GIT_S = 600
# They print what a commit holds, which may be a file of many gigabytes, or a directory that holds itself.
READING = ("ls-tree", "diff-tree", "show", "rev-list")
# Nothing of the repository is started: no hooks, no monitor of files, no helper as a protocol, no GnuPG.
QUIET = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
    "-c", "log.showSignature=false",
)  # fmt: skip
# It asks nobody for a password, and puts no other object in the place of the one that is named.
ALONE = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
TOO_MUCH = f"it printed more than {MOST_BYTES // MIB} MiB: a commit has too many files, or too large a one"
LINK = "160000"  # the mode of a commit of another repository


def run(
    place: Path, arguments: tuple[str, ...], variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run git in a directory. Raises OSError if it cannot be started, and SubprocessError if it fails."""
    command = ["git", "-C", str(place), *QUIET, *arguments]
    known = environment("SSH_AUTH_SOCK", "SSH_AGENT_PID") | ALONE | variables
    return run_whole(command, known, GIT_S, may_leave=True, whole=arguments[0] in READING)


def git(place: Path, *arguments: str, **variables: str) -> str:
    """Return git's output. Raises BenchError with the last lines that it printed."""
    try:
        return run(place, arguments, variables).stdout
    except (OSError, subprocess.SubprocessError) as bad:
        verb = next((one for one in arguments if one.isalpha() and one.islower()), arguments[0])
        why = TOO_MUCH if printed_too_much(bad) else last_lines(bad)
        raise BenchError(f"git {verb} failed in {place}: {why}") from None


def git_or_none(place: Path, *arguments: str) -> str | None:
    """Return git's output, or None if it fails."""
    try:
        return run(place, arguments, {}).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def links(place: Path, **variables: str) -> frozenset[str]:
    """Return the paths in the index of a working tree that are commits of other repositories."""
    staged = (one.partition("\t") for one in git(place, "ls-files", "--stage", "-z", **variables).split("\0"))
    return frozenset(path for about, _tab, path in staged if about.startswith(LINK))


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give git settings. The option ``-c`` ends a key at the first equals sign, so
    a name that a commit has chosen could be the key of another setting, and its value a command."""
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return given
