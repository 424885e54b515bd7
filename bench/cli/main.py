"""The entry point: run a command, and turn how it ends into an exit code."""

from __future__ import annotations

import sys

from bench.cli import upkeep  # noqa: F401 - registers its commands
from bench.cli.app import app
from bench.cli.output import readers_may_go
from bench.errors import BenchError, ExitCode


def main() -> None:
    """Run a command.

    An expected error is one message and its exit code. Anything else leaves its traceback in a file that can
    be attached to an issue.
    """
    with readers_may_go():
        _run()


def _run() -> None:
    try:
        app()
    except BenchError as expected:
        print(f"bench: {expected}", file=sys.stderr)
        sys.exit(expected.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as unexpected:  # noqa: BLE001 - the one place: tell the user, keep the traceback
        from bench.cli.crash import report_crash

        print(report_crash(unexpected), file=sys.stderr)
        sys.exit(ExitCode.FAILED)
