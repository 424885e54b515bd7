"""Give pieces to machines, one at a time to each, until every piece has ended.

A comparison group never spans machines. What a lost machine had begun is measured anew, as another run, on
one that is there; what it had sent is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, ExitCode, OnFailure
from bench.results.run_summary import RunStatus
from bench.scale.campaign import FAILED, LOST, NOT_BEGUN, Campaign, Ending
from bench.scale.machines import Heard, Lost, Machine, Machines
from bench.scale.pieces import Piece
from bench.scale.receiver import Receiver

MOST_ATTEMPTS = 3
REASON_LINES = 3


@dataclass
class _Under:
    """A piece that is being measured."""

    piece: Piece
    receiver: Receiver
    last_words: deque[str]


class Dispatcher:
    """Measures pieces on machines; ``tell`` hears a line about each thing that happens.

    ``over`` returns whether the time is up: then nothing further is begun. ``out`` is where the runs are
    kept.
    """

    def __init__(
        self,
        machines: Machines,
        campaign: Campaign,
        out: Path,
        tell: Callable[[str], None],
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._machines, self._campaign, self._out = machines, campaign, out
        self._tell, self._over = tell, over
        self._under: dict[Machine, _Under] = {}
        self._attempts: dict[str, int] = {}
        self._unfit: dict[Machine, str] = {}
        self._endings: dict[str, Ending] = {}

    def run(self, pieces: Sequence[Piece]) -> dict[str, Ending]:
        """Measure all pieces, and return how each ended, by its digest.

        Ctrl-C and SIGTERM end what is under way, and keep it.
        """
        waiting = deque(pieces)
        try:
            with OnFailure(self._stop_all):
                while waiting or self._under:
                    self._begin(waiting)
                    if not waiting or self._over():
                        self._machines.spare(tuple(self._under))
                    if not self._under:
                        break
                    for machine, what in self._machines.hear(tuple(self._under)).items():
                        self._heard(machine, what, waiting)
        finally:
            for piece in waiting:
                self._end(piece, Ending(piece.name, NOT_BEGUN, reason=self._why_not(piece)))
        return self._endings

    def _begin(self, waiting: deque[Piece]) -> None:
        """Give a piece to every machine that is free."""
        for machine in self._machines.present():
            if not waiting or self._over():
                return
            if machine in self._under or machine in self._unfit:
                continue
            piece = next((one for one in waiting if machine.gpus or not one.needs_gpu), None)
            if piece is None:
                continue
            if (why := self._machines.begin(machine, piece)) is not None:
                self._unfit[machine] = why
                self._tell(f"{machine.name} is not used: {why}")
                continue
            waiting.remove(piece)
            attempt = self._attempts[piece.digest] = self._attempts.get(piece.digest, 0) + 1
            self._under[machine] = _Under(piece, Receiver(self._out), deque(maxlen=REASON_LINES))
            self._campaign.begun(piece, machine.name, attempt)
            self._tell(f"{piece.name}: on {machine.name}" + (f", attempt {attempt}" * (attempt > 1)))

    def _heard(self, machine: Machine, what: Heard | Lost, waiting: deque[Piece]) -> None:
        under = self._under[machine]
        if isinstance(what, Lost):
            del self._under[machine]
            self._lost(machine, under, what.reason, waiting)
            return
        try:
            for chunk in what.chunks:
                under.receiver.take(chunk)
            for line in what.said:
                under.last_words.append(line)
                self._tell(f"{under.piece.name}: {line}")
            if what.code is not None:
                del self._under[machine]
                self._end(under.piece, self._ending(machine, under, what.code))
        except BenchError as bad:
            self._under.pop(machine, None)
            self._machines.stop(machine)
            self._unfit[machine] = str(bad)
            kept = under.receiver.cut_short()
            self._end(under.piece, Ending(under.piece.name, FAILED, kept, machine.name, str(bad)))

    def _ending(self, machine: Machine, under: _Under, code: int) -> Ending:
        status = under.receiver.finished()
        words = " / ".join(under.last_words)
        if status is None:
            return Ending(under.piece.name, FAILED, None, machine.name, words or f"exit {code} without a run")
        if status == RunStatus.OK and code != ExitCode.OK:
            return Ending(under.piece.name, FAILED, under.receiver.directory, machine.name, f"exit {code}")
        reason = "" if status == RunStatus.OK else words
        return Ending(under.piece.name, status, under.receiver.directory, machine.name, reason)

    def _lost(self, machine: Machine, under: _Under, reason: str, waiting: deque[Piece]) -> None:
        """Keep what a lost machine had sent, and let another one measure the piece from its beginning."""
        kept = under.receiver.cut_short()
        ending = Ending(under.piece.name, LOST, kept, machine.name, reason)
        if self._attempts[under.piece.digest] < MOST_ATTEMPTS:
            self._campaign.ended(under.piece, ending)
            self._tell(f"{under.piece.name}: {machine.name} was lost ({reason}); it is measured again")
            waiting.appendleft(under.piece)
        else:
            self._end(under.piece, ending)

    def _end(self, piece: Piece, ending: Ending) -> None:
        self._endings[piece.digest] = ending
        self._campaign.ended(piece, ending)
        where = f", {ending.run}" if ending.run else ""
        self._tell(f"{piece.name}: {ending.status}{where}{f' ({ending.reason})' if ending.reason else ''}")

    def _why_not(self, piece: Piece) -> str:
        """Say why nothing has begun a piece."""
        present = self._machines.present()
        usable = [one for one in present if one not in self._unfit]
        if self._over():
            return "the time was up"
        if not present:
            return "no machine is there"
        if not usable:
            return f"no machine can be used: {'; '.join(sorted(set(self._unfit.values())))}"
        if piece.needs_gpu and not any(one.gpus for one in usable):
            return "it needs a GPU, and no machine has one"
        return "the campaign was ended"

    def _stop_all(self) -> None:
        """End what is under way, and keep what it has measured."""
        for machine in self._under:
            self._machines.stop(machine)
        while self._under:
            heard: Mapping[Machine, Heard | Lost] = self._machines.hear(tuple(self._under))
            for machine, what in heard.items():
                if isinstance(what, Heard):
                    self._heard(machine, what, deque())
                    continue
                under = self._under.pop(machine)
                kept = under.receiver.cut_short()
                self._end(under.piece, Ending(under.piece.name, LOST, kept, machine.name, what.reason))
