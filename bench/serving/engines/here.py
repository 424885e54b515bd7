"""Which Python starts an engine, and what to do where it is not installed."""

from __future__ import annotations

import sys

from bench.errors import UsageError
from bench.serving.engines.adapter import Adapter


def interpreter_for(adapter: Adapter, asked: str | None) -> str:
    """Return the Python that starts an engine: the one that was asked for, else this one.

    Raises UsageError, with the command that installs it, if the engine is not here.
    """
    if asked is None and not adapter.is_here():
        raise UsageError(
            f"{adapter.title} is not installed here: {adapter.install}; or name the Python that has it"
        )
    return asked or sys.executable
