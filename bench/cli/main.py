"""The entry point: run a command, and turn how it ends into an exit code."""

from __future__ import annotations

import errno
import gc
import sys
from pathlib import Path

from bench.cli import (  # noqa: F401 - they register their commands
    explaining,
    loading,
    planning,
    pricing,
    upkeep,
)
from bench.cli.app import app
from bench.cli.output import Verdict, forget_odd_sizes, readers_may_go, speakable
from bench.errors import BenchError, ExitCode, UsageError

# Commands build large trees, and no cycles: with the usual 700 the collector looks through a run of a
# thousand rows again and again, which takes a fifth of the time to read it.
NEW_OBJECTS = 50_000
LONGEST_NAME = 80  # letters of a name in such a message
NOT_OURS = {
    errno.ENAMETOOLONG: "this name is too long",
    errno.EACCES: "this user may not look into it",
    errno.EPERM: "this user may not do that",
}


def main() -> None:
    """Run a command, and exit with its code.

    An expected error is one message and its exit code; anything else is raised, see ``bench.__main__``. A
    command that has a verdict (``run``, ``gate``) keeps its code whatever happens to the streams; any other
    fails if its output could not be written, because the output is its result.
    """
    gc.set_threshold(NEW_OBJECTS)
    forget_odd_sizes()
    with readers_may_go() as out:
        code = _run()
        out.flush()
    sys.exit(ExitCode.FAILED if code is None and out.lost else code or ExitCode.OK)


def _run() -> int | None:
    """Return the exit code of a command; None for a command without a verdict that ended well."""
    try:
        _must_stand_somewhere()
        app()
    except Verdict as verdict:
        return verdict.exit_code
    except BenchError as expected:
        print(f"bench: {speakable(str(expected))}", file=sys.stderr)
        return expected.exit_code
    except OSError as bad:
        if bad.errno not in NOT_OURS or bad.filename is None:
            raise
        name = speakable(str(bad.filename))[:LONGEST_NAME]
        print(f"bench: {name}: {NOT_OURS[bad.errno]}", file=sys.stderr)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as left:  # typer's way to end, which has printed what there is to say
        return left.code or None if isinstance(left.code, int | None) else ExitCode.FAILED
    return None


def _must_stand_somewhere() -> None:
    """Raise UsageError if the current directory was deleted: every relative path would be lost."""
    try:
        Path.cwd()
    except OSError as bad:
        raise UsageError(
            f"the current directory cannot be used ({bad.strerror}): go to another one"
        ) from None
