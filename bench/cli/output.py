"""Protect a command from standard streams that are closed, full or no longer read (``... | head -1``)."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from bench.errors import ExitCode
from bench.formatting import defused, line_so_far, printable, without_secrets

LONGEST, LONGEST_LINE = 20_000, 1000  # characters of a message, and of each of its lines
CLOSED = "it was closed meanwhile"
ESCAPED = "backslashreplace"
ASCII_LINES = f"bench: a..b/{'c' * 99}\n\n"  # idna, a codec for the names of hosts, refuses it


class Verdict(SystemExit):
    """Raised at the end of a command whose exit code is its result, such as that of a gate."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__(int(exit_code))
        self.exit_code = exit_code


class Stream:
    """A text stream that drops what can no longer be written, and has the reason in ``lost``.

    So a command always ends with its own exit code: a gate has a verdict even if nobody reads its output, the
    disk is full, or a plug-in has closed the stream.

    Everything that is printed passes through this class. Text from a run, a model or a config may look like a
    command to a CI server, so it is ``defused``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self.lost = ""

    def write(self, text: str) -> int:
        """Write ``text``, with commands to a CI server disabled; drop it if it cannot be written."""
        shown = defused(text, self._line)
        self._line = line_so_far(self._line, shown)
        self.write_commands(shown)
        return len(text)

    def write_commands(self, text: str) -> int:
        """Write ``text`` unchanged, including its commands to a CI server."""
        try:
            self._or_drop(lambda: self._stream.write(text))
        except (UnicodeError, LookupError):  # the encoding does not have a character
            known = _without_unknown(text, self._stream.encoding)
            self._or_drop(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop the content of its buffer if it cannot be written."""
        self._or_drop(self._stream.flush)

    def _or_drop(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenPipeError:
            self._discard()
        except OSError as bad:
            self.lost = bad.strerror or str(bad)
            self._discard()
        except UnicodeError:  # is a ValueError, and says nothing of the stream
            raise
        except ValueError:  # what is closed, or has lost its buffer, has no descriptor either
            self.lost = CLOSED
            self._stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open

    def close(self) -> None:
        """Flush only: a plug-in or a library may close its output, and the command has more to say."""
        self.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal; a closed one is none."""
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def _discard(self) -> None:
        nowhere, descriptor = os.open(os.devnull, os.O_WRONLY), self._stream.fileno()
        if nowhere != descriptor:  # it is the same if somebody has closed the descriptor
            os.dup2(nowhere, descriptor)  # so that the rest of the buffer can be flushed
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def reopen_closed() -> None:
    """Open standard streams that were closed when the program was started (``bench gate ... >&-``).

    For a closed stream, Python sets None, and the next opened file gets its descriptor. What a library prints
    to descriptor 1 could then go into the journal.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def _without_unknown(text: str, code: str) -> str:
    """Return a text with each character escaped that an encoding does not have. A codec that cannot escape
    single characters gets ASCII."""
    try:
        return text.encode(code, errors=ESCAPED).decode(code)
    except UnicodeError:
        return text.encode("ascii", errors=ESCAPED).decode("ascii")


def _write_ascii_at_least() -> None:
    """Let standard output and error write UTF-8 if their encoding does not even have ASCII. The variable
    ``PYTHONIOENCODING`` can name any codec."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            try:
                encoder = codecs.getincrementalencoder(stream.encoding)(stream.errors or "strict")
                encoder.encode(ASCII_LINES, final=True)
            except (UnicodeError, LookupError):
                stream.reconfigure(encoding="utf-8", errors=ESCAPED)


def forget_odd_sizes() -> None:
    """Delete an invalid terminal size from the environment, because libraries would fail on it."""
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("[1-9][0-9]{0,4}", os.environ.get(name, "1")):
            del os.environ[name]


@contextmanager
def readers_may_go() -> Iterator[Stream]:
    """Run the block so that a broken standard output or error does not end it. Yield standard output.

    If something could not be written, a sentence on standard error says so at the end.
    """
    reopen_closed()
    _write_ascii_at_least()
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
    for name, stream in (("stdout", out), ("stderr", err)):
        if stream.lost == CLOSED:  # Python flushes it once more when it ends, and would leave with 120
            setattr(sys, name, stream)


def command_ci(text: str) -> None:
    """Write commands for a CI server, such as ``::error::``, to standard error."""
    err: Any = sys.stderr  # under pytest this is not a Stream
    (err.write_commands if isinstance(err, Stream) else err.write)(f"{text}\n")
    err.flush()


def speakable(text: str) -> str:
    """Return a message that is safe to show.

    Names and paths in a message may contain commands to a terminal or to a CI server (``::error::``), and a
    URL may contain a password. All of these are removed.
    """
    shown = without_secrets(defused(printable(text)))
    shown = "\n".join(map(_without_middle, shown.split("\n")))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _without_middle(line: str) -> str:
    """Shorten a line that is too long to read. Its ends are kept, because place and hint are there."""
    end = LONGEST_LINE // 4
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - end]} … {line[-end:]}"
