"""Parts that count many runs, a few each time, until they have enough to judge."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.errors import BenchError
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


def in_pieces(
    setting: Setting,
    kept: Mapping[str, Any],
    pieces: Mapping[str, Callable[[], Any]],
    judge: Callable[[Mapping[str, Any]], Sequence[Figure]],
) -> Found:
    """Do the pieces of a part that no earlier go has done, each of which gives what JSON can hold, and judge
    what there is. One that fails, or for which the time does not suffice, is left for the next go."""
    done: dict[str, Any] = dict(kept.get("pieces", {}))
    failed: dict[str, str] = {}

    def one_more() -> None:
        name = next(name for name in pieces if name not in done and name not in failed)
        try:
            done[name] = pieces[name]()
        except (RuntimeError, BenchError) as bad:
            traceback.print_exc()
            failed[name] = f"{name}: {type(bad).__name__}: {str(bad)[:400]}"

    late = while_there_is_time(setting, lambda: len(done) + len(failed) >= len(pieces), one_more)
    problem = "; ".join([*failed.values(), *filter(None, [late])])
    return counted(len(done), len(pieces), judge(done), {"pieces": done}, problem)


def counted(
    count: int, wanted: int, figures: Sequence[Figure], kept: Mapping[str, Any], problem: str = ""
) -> Found:
    """Return a part that is only judged once it has as many as are wanted."""
    if count < wanted:
        reason = f"{count} of {wanted}; run it again to go on" + (f" ({problem})" if problem else "")
        return Found("unfinished", tuple(figures), reason, kept=kept)
    return judged(figures, kept=kept)
