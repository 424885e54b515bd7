"""Show progress on standard error.

Nothing here runs while a worker is being timed: there is no thread and no automatic refresh. The screen
changes only when the run reports an event.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from bench.config.spec import Spec
from bench.errors import Outcome
from bench.formatting import MIB, format_duration, printable, row_title
from bench.measure.clock import elapsed_s
from bench.measure.events import Began, Ended, Event, Noted
from bench.models.reference import Progress

CLEAR_LINE = "\r\x1b[K"


class RunProgress:
    """A progress bar over all rows on a terminal, or a plain line for each event elsewhere.

    The bar shows what runs now, what comes next, and about how much time is left. Most rows end late, because
    the rows get their pairs in rotation. ``earlier_s`` has the seconds that each row took in an earlier run
    on this machine, by the row's title; without it no time is shown. ``clock`` returns seconds.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        quiet: bool,
        earlier_s: Mapping[str, float] | None = None,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        self._quiet = quiet
        self._rows = [row_title(group.label, arm.name) for group in spec.groups for arm in group.arms]
        self._waiting = list(self._rows)
        self._total, self._left_s = len(self._waiting), dict(earlier_s or {})
        self._clock, self._under_way_since = clock, clock()
        self._last: str | None = None
        self._console = Console(stderr=True, emoji=False)
        self._bar: Bar | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Bar(
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: Event) -> None:
        """Show an event. Lines about the end of a row, and notes, stay on the screen."""
        if self._quiet:
            if isinstance(event, Noted) and event.urgent:
                print(printable(event.text), file=sys.stderr, flush=True)
            return
        text = self._line(event)
        self._count_time(event)
        if isinstance(event, Ended) and event.who in self._waiting:
            self._waiting.remove(event.who)
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
            return
        if isinstance(event, Began):  # not earlier, because fetching a model shows a bar of its own
            self._bar.start()
        else:
            self._bar.console.print(escape(text), highlight=False)
        done = self._total - len(self._waiting)
        self._bar.update(self._task, completed=done, description=escape(self._under_way(event)))
        self._bar.refresh()

    def _line(self, event: Event) -> str:
        if isinstance(event, Noted):
            return printable(event.text)
        what = event.stage if isinstance(event, Began) else "done"
        if isinstance(event, Ended) and event.outcome != Outcome.OK:
            what = f"{event.outcome}: {event.reason}"
        known = event.who in self._rows  # a gate may report rows that are not in the config, one by one
        after = self._rows.index(event.who) if known else self._total - len(self._waiting)
        number = min(after + 1, self._total)
        return f"[{number}/{self._total}] {printable(event.who)}: {printable(what)}"

    def _count_time(self, event: Event) -> None:
        """Subtract the time since the last event from the remaining time of the row that was running."""
        now = self._clock()
        if self._last in self._left_s:
            self._left_s[self._last] = max(0.0, self._left_s[self._last] - (now - self._under_way_since))
        self._last, self._under_way_since = event_row(event) or self._last, now

    def _under_way(self, event: Event) -> str:
        """Say what runs now, what comes next, and how much time is left, judged by an earlier run."""
        parts = [f"{event.who}: {event.stage}"] if isinstance(event, Began) else []
        row = event_row(event)
        if row in (None, *self._rows):
            place = self._rows.index(row) if row else 0
            in_turn = [name for name in self._rows[place:] + self._rows[:place] if name in self._waiting]
            parts += [f"next: {name}" for name in in_turn if name != row][:1]
        left_s = sum(self._left_s.get(name, math.nan) for name in self._waiting)
        if left_s > 0:
            parts.append(f"about {format_duration(left_s)} left")
        return printable(", ".join(parts))


def event_row(event: Event) -> str | None:
    """Return the row that an event is about, or None for a note about the whole run."""
    return None if isinstance(event, Noted) else event.who


class FetchBar:
    """A progress bar for a model that is being fetched, or a plain line for each stage without a terminal."""

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
        """Show the progress of a fetch. It is fast enough to be called often."""
        if self._quiet or (not self._live and progress.stage == self._stage):
            return
        self._stage = progress.stage
        done, total = progress.done_bytes, progress.total_bytes
        if not self._live:
            print(f"model: {progress.stage} ...", file=sys.stderr, flush=True)
            return
        amount = f"{done / MIB:.0f} MiB"
        if total:
            filled = round(self.WIDTH * min(done / total, 1))
            bar = "█" * filled + "░" * (self.WIDTH - filled)
            amount = f"{bar} {done / MIB:.0f} of {total / MIB:.0f} MiB"
        print(f"{CLEAR_LINE}model: {progress.stage} {amount}", end="", file=sys.stderr, flush=True)
