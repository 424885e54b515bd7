"""Measure each comparison group as a separate run, here or on other machines: ``bench run --on MACHINES``."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from bench.errors import ExitCode, InterruptedRun, TerminatedRun, UsageError
from bench.formatting import count, one_line, printable
from bench.measure.interrupt import ending_signals
from bench.measure.refining import Budget
from bench.scale.campaign import Campaign, Ending, complete
from bench.scale.dispatch import Dispatcher
from bench.scale.machines import Machines
from bench.scale.pieces import pieces_of

HERE, RAY = "here", "ray"
LONGEST_REASON = 200  # characters


@dataclass(frozen=True)
class ScaleOptions:
    """The options of ``bench run --on``. No group is started after ``budget_s`` seconds.

    ``shard`` is (K, N): of all groups, in their order, the K-th and every N-th after it are measured.
    """

    on: str
    out: Path
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    resume: Path | None = None
    budget_s: float | None = None
    shard: tuple[int, int] = (1, 1)


def run_on(configs: Sequence[Path], options: ScaleOptions, *, quiet: bool) -> ExitCode:
    """Measure every group of the configs on the named machines, and print how each ended.

    Return OK if every group was measured completely, else FAILED.
    """
    reach = machines_named(options.on)
    budget = None if options.budget_s is None else Budget(options.budget_s)
    (number, shards), name = options.shard, configs[0].stem
    tell = (lambda _line: None) if quiet else _say
    pieces = pieces_of(configs, options.overrides, options.only, tell)[number - 1 :: shards]
    if shards > 1:
        name = f"{name}-shard-{number}-{shards}"
    if not pieces:
        print(f"there are fewer groups than shards, so shard {number}/{shards} has none to measure")
        return ExitCode.OK
    done = complete(options.resume, pieces, tell) if options.resume else {}
    left = [piece for piece in pieces if piece.digest not in done]
    tell(f"{count(len(pieces), 'group')} of {count(len(configs), 'config')}, {len(done)} measured before")
    with ExitStack() as stack:
        machines = stack.enter_context(closing(reach())) if left else None
        if options.resume:
            campaign = Campaign.reopen(options.resume, pieces)
        else:
            campaign = Campaign.create(options.out, name, pieces)
        stack.enter_context(closing(campaign))
        ended = dict(done)
        if machines is not None:
            dispatcher = Dispatcher(
                machines, campaign, campaign.directory.parent, tell,
                lambda: budget is not None and budget.left_s() < 0,
            )  # fmt: skip
            with _ended_by_signals(campaign.directory):
                ended |= dispatcher.run(left)
    endings = [ended[piece.digest] for piece in pieces]
    print("\n".join(page(endings, campaign.directory)))
    return exit_code(endings)


def machines_named(on: str) -> Callable[[], Machines]:
    """Return a function that connects to the machines of ``--on``. Raises UsageError for an unknown name."""
    if on == HERE:
        from bench.scale.here import Here

        return Here
    if on == RAY or re.fullmatch(r"ray://[^\s/]+:[0-9]{1,5}", on):
        from bench.scale.on_ray import OnRay

        return partial(OnRay, None if on == RAY else on)
    raise UsageError(f"--on {on}: write here, ray, or ray://HOST:PORT")


def page(endings: Sequence[Ending], directory: Path) -> Iterator[str]:
    """Yield lines that say how each group ended, and what to do next."""
    from bench.cli.tables import align

    rows = [
        (ending.piece, ending.status, ending.machine, str(ending.run or ""), ending.reason[:LONGEST_REASON])
        for ending in endings
    ]
    lines = [tuple(map(one_line, row)) for row in rows]
    yield from align([("group", "status", "machine", "run", ""), *lines])
    kept = [str(ending.run) for ending in endings if ending.run is not None]
    yield ""
    yield f"  {directory}"
    if kept:
        some = " ".join(kept[:3]) + " ..." * (len(kept) > 3)
        yield f"  bench report {one_line(some)} --format html -o report.html"
    if not all(ending.complete for ending in endings):
        yield f"  go on with what is missing: --resume {directory}"


def exit_code(endings: Iterable[Ending]) -> ExitCode:
    """Return OK if every group was measured completely, else FAILED."""
    return ExitCode.OK if all(ending.complete for ending in endings) else ExitCode.FAILED


@contextmanager
def _ended_by_signals(directory: Path) -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into an exception that ends the campaign.

    Further signals are ignored while the results are being saved.
    """
    kept = f"what was measured is kept; go on with --resume {directory}"

    heard = (signal.SIGINT, *ending_signals())

    def end(number: int, _frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        if number != signal.SIGINT:
            raise TerminatedRun(f"terminated; {kept}")
        raise InterruptedRun(f"interrupted; {kept}")

    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
