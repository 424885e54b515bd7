"""Progress on standard error. Nothing here runs while a worker is being timed: no threads, no refresh."""

from __future__ import annotations

import sys
from types import TracebackType

from bench.config.spec import Spec
from bench.formatting import MIB, printable
from bench.models.reference import Progress

CLEAR_LINE = "\r\x1b[K"


class StageLines:
    """One line a stage; on a terminal the line of the stage under way is written over."""

    def __init__(self, spec: Spec, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._names = [arm.name for group in spec.groups for arm in group.arms]
        self._total = len(self._names)
        self._done = 0

    def say(self, who: str, what: str) -> None:
        """``who`` has begun ``what``; ``done`` and failures stay on the screen."""
        if self._quiet:
            return
        ended = what == "done" or ": " in what
        text = f"[{min(self._done + 1, self._total)}/{self._total}] {printable(who)}: {printable(what)}"
        self._done += ended
        if self._live:
            print(f"{CLEAR_LINE}{text}", end="\n" if ended else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._live and not self._quiet:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


class FetchBar:
    """A bar for a model being fetched; plain lines, one a stage, where there is no terminal."""

    WIDTH = 30

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._stage = ""

    def __enter__(self) -> FetchBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._stage:
            print(file=sys.stderr)

    def update(self, progress: Progress) -> None:
        """Called as often as the fetch likes."""
        if self._quiet or (not self._live and progress.stage == self._stage):
            return
        self._stage = progress.stage
        done, total = progress.done_bytes, progress.total_bytes
        if not self._live:
            print(f"model: {progress.stage} ...", file=sys.stderr, flush=True)
        elif total:
            filled = round(self.WIDTH * min(done / total, 1))
            bar = "█" * filled + "░" * (self.WIDTH - filled)
            line = f"{CLEAR_LINE}model: {progress.stage} {bar} {done / MIB:.0f} of {total / MIB:.0f} MiB"
            print(line, end="", file=sys.stderr, flush=True)
        else:
            print(
                f"{CLEAR_LINE}model: {progress.stage} {done / MIB:.0f} MiB",
                end="",
                file=sys.stderr,
                flush=True,
            )
