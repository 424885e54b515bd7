"""Run a command, and turn the way it ends into an exit code. This is the entry point of ``bench``."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.cli import (  # noqa: F401 - they register their commands
    compact_command,
    explain_command,
    list_commands,
    load_command,
    plan_command,
    price_command,
)
from bench.cli.main_commands import app
from bench.cli.output import Verdict, forget_odd_sizes, readers_may_go, speakable
from bench.cli.system_errors import not_ours
from bench.errors import BenchError, ExitCode, InterruptedRun, TerminatedRun, UsageError
from bench.measure.interrupt import ending_signals, winding_down

# Commands build large trees without cycles. With the default of 700 the garbage collector would search a run
# of a thousand rows again and again, which takes a fifth of the time to read it.
NEW_OBJECTS = 50_000
# Click would do what ``_BENCH_COMPLETE`` says instead of the command. No completion is installed here, so
# nobody has set it for us.
NO_VARIABLE = ""


def main() -> None:
    """Run a command, and exit with its code.

    An expected error prints one message and has its own exit code. Any other error is raised: see
    ``bench.__main__``. A command with a verdict (``run``, ``gate``) keeps its exit code even if its output
    cannot be written. Any other command then fails, because its output is its result.
    """
    gc.set_threshold(NEW_OBJECTS)
    forget_odd_sizes()
    with readers_may_go() as out:
        code = _run()
        out.flush()
    sys.exit(ExitCode.FAILED if code is None and out.lost else code or ExitCode.OK)


def _run() -> int | None:
    """Run a command and return its exit code, or None if it ended well and has no verdict."""
    try:
        with _heeding_signals():
            _require_working_directory()
            app(complete_var=NO_VARIABLE)
    except Verdict as verdict:
        return verdict.exit_code
    except (BenchError, InterruptedRun) as expected:
        print(f"bench: {speakable(str(expected))}", file=sys.stderr)
        return expected.exit_code
    except (OSError, MemoryError, RuntimeError) as bad:
        if (said := not_ours(bad)) is None:
            raise
        print(f"bench: {said[0]}", file=sys.stderr)
        return said[1]
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except SystemExit as left:  # typer has already printed its message; 1 is the verdict of a gate only
        return left.code or None if left.code != 1 and isinstance(left.code, int | None) else ExitCode.FAILED
    return None


@contextmanager
def _heeding_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that is closed, end a command as Ctrl-C does.

    Their own effect would end this process alone: the build of a commit, pip or git, which have sessions of
    their own, would go on without it. A run and a load have handlers of their own while they measure.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        if not winding_down():
            raise TerminatedRun("terminated")

    heard = ending_signals() if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_working_directory() -> None:
    """Raise UsageError if the current directory was deleted, or if this user may not look into it: relative
    paths would not work."""
    try:
        Path.cwd()
        Path().stat()
    except OSError as bad:
        raise UsageError(
            f"the current directory cannot be used ({bad.strerror}): go to another one"
        ) from None
