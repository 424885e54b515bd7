"""Refuse options that would have no effect, because a user who gives them expects one."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import UsageError
from bench.formatting import join_words


def refuse_idle(given: Mapping[str, bool], why: str) -> None:
    """Raise UsageError if any of these options was given, with ``why`` as the reason.

    ``given`` maps the name of each option to whether the user gave it.
    """
    idle = [option for option, is_given in given.items() if is_given]
    if idle:
        raise UsageError(f"{join_words(idle)} {'do' if len(idle) > 1 else 'does'} nothing here: {why}")
