"""Options that were given and would do nothing: they are refused, since who gives them expects something."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import UsageError
from bench.formatting import join_words


def refuse_idle(given: Mapping[str, bool], why: str) -> None:
    """Raise UsageError with the options in ``given`` that were given; ``why`` says what is done instead."""
    idle = [option for option, is_given in given.items() if is_given]
    if idle:
        raise UsageError(f"{join_words(idle)} {'do' if len(idle) > 1 else 'does'} nothing here: {why}")
