"""Run the child processes of a fetch, watch them, and read their error messages."""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, InterruptedRun
from bench.formatting import one_line, printable, without_secrets
from bench.machine.children import NOWHERE, SAFE
from bench.machine.proc import as_allowed, ending_with_parent
from bench.machine.process_tree import ending, marked, printed
from bench.store.directories import files_below

POLL_S = 0.2
MOST_SAID = 200  # letters of what a library says
BAR = re.compile(r"\d%\|")  # a line of tqdm


@dataclass(frozen=True)
class Limits:
    """What a child may take: seconds, and bytes of memory."""

    seconds: float
    memory_bytes: int


def run_child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    watch: Callable[[], None],
    limits: Limits | None = None,
) -> tuple[int, str]:
    """Run this Python with ``arguments`` to its end, and call ``watch`` every 0.2 s. Return its exit status
    and its stderr. The child imports nothing from the directory in which the user stands.

    Raises BenchError if it takes more than its ``limits`` in seconds; more memory is refused to it. What it
    started ends with it, and it ends with this process.
    """
    given = marked({**environment, **SAFE})
    with tempfile.TemporaryFile() as err:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, "-P", *arguments], env=given, cwd=NOWHERE, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=err, start_new_session=True,
                preexec_fn=ending_with_parent(signal.SIGKILL),
            )  # fmt: skip

        with ending(start, given) as child:
            if limits is not None:
                most = as_allowed(resource.RLIMIT_DATA, limits.memory_bytes)
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    resource.prlimit(child.pid, resource.RLIMIT_DATA, (most, most))
            _wait(child, watch, math.inf if limits is None else limits.seconds)
        return child.returncode, printed(err)


def _wait(child: subprocess.Popen[bytes], watch: Callable[[], None], seconds: float) -> None:
    """Wait for the end of a child, and call ``watch`` meanwhile. Raises BenchError after ``seconds``."""
    waited = 0.0
    while True:
        watch()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(POLL_S)
            return
        waited += POLL_S
        if waited > seconds:
            raise BenchError(f"it took more than {seconds:.0f} s, and was ended")


def size_on_disk(directory: Path) -> int:
    """Return the bytes of all files below a directory in which another process is writing."""
    total = 0
    for path in files_below(directory):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def last_words(said: str, lines: int = 3) -> str:
    """Return the last lines of a child's stderr that are no progress bars, suitable for an error message. The
    last one alone is the sentence of a child that refused its file; libraries may have warned before it."""
    found = [line.strip() for line in said.splitlines() if line.strip() and not BAR.search(line)]
    return printable(without_secrets(" / ".join(found[-lines:])))[-500:] or "nothing"


def settings_of(*prefixes: str) -> dict[str, str]:
    """Return the variables that belong to one program, its secrets too: pip needs the password of an index,
    the hub a token. No other child gets them."""
    return {key: value for key, value in os.environ.items() if key.startswith(prefixes)}


def reported(work: Callable[[], object], needs: str, *, refused: int = 1) -> int:
    """Do what a child is there for, print what ``work`` returns, and return the child's exit status.

    An error becomes a line on stderr: that of a missing package with what the work ``needs``. The status is
    then ``refused`` for a BenchError, and 1 for any other, which is no fault of the file.
    """
    try:
        print(work())
    except ImportError as bad:
        print(f"{bad}; {needs}", file=sys.stderr)
    except BenchError as bad:
        print(bad, file=sys.stderr)
        return refused
    except MemoryError:
        print("it needs more memory than there is, or than its weights account for", file=sys.stderr)
    except OSError as bad:  # a library that is broken, too
        print(f"OSError: {one_line(str(bad))[:MOST_SAID]}", file=sys.stderr)
    else:
        return 0
    return 1


def of_libraries(bad: BaseException, begin: str = "") -> BenchError | None:
    """Return what a library has raised about a file, in one line behind ``begin``. None for an error of ours,
    of the memory, and of the installation: a library that is missing or broken."""
    ours = isinstance(bad, BenchError | InterruptedRun | KeyboardInterrupt | SystemExit)
    if ours or isinstance(bad, MemoryError | ImportError | OSError):
        return None
    return BenchError(f"{begin}{type(bad).__name__}: {one_line(str(bad))[:MOST_SAID]}")
