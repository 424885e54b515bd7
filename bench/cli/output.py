"""Standard output and error that allow a reader to leave before the end, as in ``bench list | head -1``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO


class Stream:
    """A text stream that drops what nobody reads any more.

    A command therefore still finishes with its own exit code: a gate has a verdict even if its reader is
    gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if the reader is gone."""
        self._or_nowhere(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what it holds if the reader is gone."""
        self._or_nowhere(self._stream.flush)

    def _or_nowhere(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is still in the buffer goes there too
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def readers_may_go() -> Iterator[None]:
    """Run the block so that it is no error if a reader of standard output or error goes away."""
    out: Any = Stream(sys.stdout)
    err: Any = Stream(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
