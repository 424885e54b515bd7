"""Parts that count many runs, a few each time, until they have enough to judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpu_check.setting import Setting, TookTooLong
from gpu_check.sheet import Figure, Found, judged

ENOUGH_S = 90.0  # another round begins only with so much time left


def while_there_is_time(setting: Setting, done: Callable[[], bool], more: Callable[[], None]) -> str:
    """Do more until it is done, one of them fails, or the time of this part is over; what was done is kept.

    Returns what went wrong, or nothing.
    """
    longest = 0.0
    try:
        while not done() and setting.left_s() > max(longest * 1.2, 0.0 if setting.small else ENOUGH_S):
            began = time.monotonic()
            more()
            longest = max(longest, time.monotonic() - began)
    except TookTooLong:
        return "the last one took longer than this part may" if not longest else ""
    except RuntimeError as failed:
        return f"the last one failed: {failed}"
    return ""


def counted(
    count: int, wanted: int, figures: Sequence[Figure], kept: Mapping[str, Any], problem: str = ""
) -> Found:
    """Return a part that is only judged once it has as many as are wanted."""
    if count < wanted:
        reason = f"{count} of {wanted}; run it again to go on" + (f" ({problem})" if problem else "")
        return Found("unfinished", tuple(figures), reason, kept=kept)
    return judged(figures, kept=kept)
