"""Find out whether each side of a pair answers by itself, where both run code of the user.

Both sides live at the same time. If their code starts a server on a fixed port, only one of them gets the
port, and the other one asks that server too: one program is measured twice, and a change costs nothing. The
same happens with a socket, a queue or a daemon of a fixed name. So once the unit is timed, each side answers
while all processes of the other one are stopped. Code that needs them cannot.

The same answers, alone on a processor, show whether the code does less work when it shares one: an answer
with a deadline meets it then with half of the work, and looks cheap.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

import psutil

from bench.config.encoders import runs_own_code
from bench.errors import Outcome, VariantFailed
from bench.measure import designs, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.fresh_pair import FreshPair
from bench.measure.together import blaming_baseline
from bench.records import UnitRecord

PATIENCE_S = 30.0  # beside ten times the longest answer: only code that waits for the other side takes it all
MOST_TIMES = 10
MORE_ALONE = 1.5  # so many times its time beside the other side: then it did less there
SHORTEST_NS = 10_000_000  # an answer with a deadline is no shorter than that
REPEATS = 3  # of the answer alone; the shortest counts, because something may make one longer
ADVICE = "let each process choose a free port, and places below TMPDIR"


def checked(pair: FreshPair, unit: UnitRecord, first: int = 0) -> UnitRecord:
    """Return the unit of a pair of the user's own code, void if its sides did less work because they shared a
    processor. Units of other engines stay as they are. ``first`` is the batch that the pair warmed up with.

    Raises VariantFailed, or BaselineDied, if a side does not answer without the processes of the other one.
    """
    if not all(runs_own_code(side.arm.runtime) for side in pair.sides):
        return unit
    _must_listen_apart(pair.sides)
    less = False
    for side, other, times in (
        (pair.variant, pair.base, unit.variant_ns),
        (pair.base, pair.variant, unit.baseline_ns),
    ):
        with stopped(other.worker.tree()):
            _must_answer(side, other, fresh(side.batches, (first, *unit.batches)), _limit_s(pair, unit))
            less |= _does_less(side, unit.batches[0], sum(times[0])) if unit.shared else False
    return replace(unit, void=unit.void or designs.DEADLINE) if less else unit


def _limit_s(pair: FreshPair, unit: UnitRecord) -> float:
    """Return after how long a side is taken to wait for the other one."""
    timed = [sum(times) / 1e9 for times in (*unit.baseline_ns, *unit.variant_ns)]
    cold = [warm.first_request_ms / 1e3 for warm in pair.warm]
    return PATIENCE_S + MOST_TIMES * max(timed + cold)


def fresh(batches: int, asked: Sequence[int]) -> int:
    """Return one of ``batches`` that a process was not ``asked`` yet, if there is one: code may keep
    answers."""
    known = {number % batches for number in asked}
    return max(set(range(batches)) - known, default=batches - 1)


def _must_answer(side: ArmUnderTest, other: ArmUnderTest, batch: int, limit_s: float) -> None:
    """Raise VariantFailed if a side does not answer while the other one is stopped."""
    names = f"{side.arm.name} gave no answer while the processes of {other.arm.name} were stopped"
    ports = sorted(listening(other.worker.tree()))
    where = f", which listen on {', '.join(ports)}" if ports else ""
    side.worker.start("alone", (), batches=[batch], turns=side.turns, wake=0)
    if not side.worker.answers_within(min(limit_s, side.context.measure.timeout_s)):
        why = f"{names}{where}: both sides use one program, so nothing is compared; {ADVICE}"
        raise VariantFailed(Outcome.RUN_ERROR, why)
    try:
        side.worker.finish(side.context.measure.timeout_s)
    except VariantFailed as bad:
        raise VariantFailed(bad.outcome, f"{names}{where}; {ADVICE}: {bad.reason}") from None


def _does_less(side: ArmUnderTest, batch: int, beside_ns: int) -> bool:
    """Return whether an answer takes much more of its own time alone than beside the other side."""
    number, limit_s = batch % side.batches, side.context.measure.timeout_s
    for _ in range(REPEATS):
        with blaming_baseline() if side.arm.is_baseline else nullcontext():
            found = side.worker.ask("alone", limit_s, batches=[number], turns=side.turns, slices=True)
            alone_ns = sum(replies.turn_times(found, 1, side.turns).durations_ns[0])
        if alone_ns < max(SHORTEST_NS, MORE_ALONE * beside_ns):
            return False
    return True


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes during the block, the parents first."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _must_listen_apart(sides: Sequence[ArmUnderTest]) -> None:
    """Raise VariantFailed if both sides listen on one port, which the kernel allows if both ask for it: it
    then gives a request to either of them."""
    base, variant = (listening(side.worker.tree()) for side in sides)
    if both := sorted(base & variant):
        names = " and ".join(side.arm.name for side in sides)
        raise VariantFailed(
            Outcome.RUN_ERROR,
            f"{names} both listen on {', '.join(both)}, so each may answer for the other; {ADVICE}",
        )


def listening(pids: Sequence[int]) -> set[str]:
    """Return the addresses on which processes listen, as far as the kernel tells this user."""
    found = set[str]()
    for pid in pids:
        with suppress(psutil.Error, OSError):
            found |= {
                f"{one.laddr.ip}:{one.laddr.port}"
                for one in psutil.Process(pid).net_connections("tcp")
                if one.status == psutil.CONN_LISTEN
            }
    return found
