"""Standard output and error whose reader may go before the end, as in ``bench list | head -1``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO


class Stream:
    """A text stream that swallows what nobody reads any more, so that a command still comes to its end and
    to its own exit code: a gate whose reader has gone has a verdict all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As the stream does."""
        self._or_nowhere(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As the stream does."""
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
    """Inside, a reader of standard output or error that goes away is no error."""
    out: Any = Stream(sys.stdout)
    err: Any = Stream(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
