"""Standard output and error that may be closed, full, or left by their reader (``bench list | head -1``)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from bench.errors import ExitCode
from bench.formatting import defused, line_so_far, printable

LONGEST, LONGEST_LINE = 20_000, 1000  # letters of a message, and of a line of it
_CREDENTIALS = re.compile(r"(://)[^/\s@]+@")


class Verdict(SystemExit):
    """The end of a command whose exit code is its result, such as a gate's."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(int(exit_code))
        self.exit_code = exit_code


class Stream:
    """A text stream that drops what cannot be written any more, and says why in ``lost``.

    A command therefore still finishes with its own exit code: a gate has a verdict even if its reader is
    gone or the disk is full.

    Everything that is printed passes here. A run, a model or a config from elsewhere may hold text that a CI
    server would take for a command to itself; wherever a line breaks, it is ``defused``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self.lost = ""

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if the reader is gone or there is no room."""
        shown = defused(text, self._line)
        self._line = line_so_far(self._line, shown)
        self.write_commands(shown)
        return len(text)

    def write_commands(self, text: str) -> int:
        """Write ``text`` as it is, with the commands to a CI server that are in it."""
        try:
            self._or_nowhere(lambda: self._stream.write(text))
        except UnicodeEncodeError:  # the terminal's encoding lacks a letter
            code = self._stream.encoding
            known = text.encode(code, errors="backslashreplace").decode(code)
            self._or_nowhere(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what it holds."""
        self._or_nowhere(self._stream.flush)

    def _or_nowhere(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenPipeError:
            self._to_nowhere()
        except OSError as bad:
            self.lost = bad.strerror or str(bad)
            self._to_nowhere()

    def _to_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # what is still in the buffer goes there too
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reopen_closed() -> None:
    """Open the standard streams that were closed when the program started (``bench gate ... >&-``).

    Python has None for them, and the next file that is opened would get their number: what a library prints
    to descriptor 1 would then go into the journal.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            found = os.open(os.devnull, os.O_RDWR)
            if found != descriptor:
                os.dup2(found, descriptor)
                os.close(found)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def forget_odd_sizes() -> None:
    """Forget a size of the terminal in the environment that is none: libraries would stumble over it."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(name, "1")):
            del os.environ[name]


@contextmanager
def readers_may_go() -> Iterator[Stream]:
    """Run the block so that nothing that happens to standard output or error ends it; yield the output.

    If something could not be written, a sentence about it is on standard error at the end.
    """
    reopen_closed()
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    streams: tuple[Any, Any] = (out, err)
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        try:
            yield out
        finally:
            out.flush()
            if out.lost:
                print(
                    f"bench: standard output cannot be written ({out.lost}); the rest is lost",
                    file=sys.stderr,
                )
            err.flush()


def command_ci(text: str) -> None:
    """Write lines to standard error that a CI server is meant to obey, such as ``::error::``."""
    err: Any = sys.stderr  # pytest has its own
    (err.write_commands if isinstance(err, Stream) else err.write)(f"{text}\n")
    err.flush()


def speakable(text: str) -> str:
    """Return a message that is safe to show.

    Names and paths in it may hold commands to a terminal, or lines that a CI server takes for a command to
    itself (``::error::``); a URL may hold a password.
    """
    shown = _CREDENTIALS.sub(r"\1***@", defused(printable(text)))
    shown = "\n".join(map(_to_be_read, shown.split("\n")))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _to_be_read(line: str) -> str:
    """Return a line without its middle if it is too long to be read: place and hint are at its ends."""
    end = LONGEST_LINE // 4
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - end]} … {line[-end:]}"
