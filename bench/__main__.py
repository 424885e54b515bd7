"""``bench`` and ``python -m bench``: start the command line, and say what nobody expected."""

from __future__ import annotations

import os
import sys

FAILED = 5  # 1 would be the verdict of a gate that fails
INTERRUPTED = 130


def main() -> None:
    """Run a command. An installation that is not whole is said in one sentence; any other exception that
    nobody expected leaves its traceback in a file that can be attached to an issue."""
    whole = False
    if os.environ.pop("PYTHONINSPECT", None):  # with it, Python would leave with 1 after any exit code
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    try:
        from bench.cli.main import main as run

        whole = True
        run()
    except KeyboardInterrupt:  # while it was starting, or writing its last lines
        sys.exit(INTERRUPTED)
    # The one place: a broken package may raise anything, and a panic of Rust is no Exception.
    except BaseException as unexpected:
        if whole and isinstance(unexpected, SystemExit):
            raise
        if whole:
            _tell(unexpected)
        else:
            said = f"{type(unexpected).__name__}: {unexpected}"
            print(f"bench cannot be started ({said}): install it again", file=sys.stderr)
        sys.exit(FAILED)


def _tell(unexpected: BaseException) -> None:
    """Tell the user, whatever has happened to the streams, and keep the traceback."""
    from bench.cli.crash import report_crash
    from bench.cli.output import readers_may_go

    with readers_may_go():
        print(report_crash(unexpected), file=sys.stderr)


if __name__ == "__main__":
    main()
