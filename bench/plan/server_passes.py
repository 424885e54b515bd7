"""Find the passes of a server with continuous batching from closed loops of 1, 4, 16, ... users.

A row of a closed loop says how many requests a second its users got, and when their tokens came. It does not
say how long a step of so many sequences takes, because steps and prompts share the time. So the closed loop
is simulated, and the time of a step is the one with which the simulated users get as many requests a second
as the measured ones. No load with random arrivals is used: how the simulated queue compares with one is a
question that can still be asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from bench.errors import UsageError
from bench.formatting import join_words
from bench.plan.pass_times import MeasuredSteps
from bench.plan.queue_simulation import closed_loop

CHUNK = 2048  # tokens per pass: the default of vLLM, and of llama.cpp's server (n_batch)
APART_S = 1e-6  # between requests, where an idle server does not wait for a second one
COARSE = (1.0, 0.5, 0.0)  # shares of a prompt's time that grow with its tokens, to choose what is likely
LIKELY = 3  # kinds of server for which that share is searched
GRID = 8  # parts of that share; it is then refined beside the best
REFINED = 0.01  # of that share: how exactly it is found
SOLVED = 1e-6  # of the time between two requests of a user: how exactly a step is found
LEAST_S = 1e-9
LEAST_SIMULATED, ROUNDS = 64, 4  # a longer load is simulated with so many requests, or so many of each user


@dataclass(frozen=True)
class UsersRow:
    """A measured closed loop: its users and requests, and the means that were measured.

    ``per_s`` is the requests per second from the first one sent to the last one answered. ``ttft_s`` is the
    time to the first token, ``tpot_s`` the time per further token, both in seconds.
    """

    users: int
    requests: int
    per_s: float
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True)
class Check:
    """Simulated ÷ measured, for one closed loop: requests per second, first token, further tokens."""

    users: int
    per_s: float
    ttft: float
    tpot: float

    @property
    def distance(self) -> float:
        """Return how far all three are from what was measured: the sum of their squared logarithms."""
        return math.fsum(math.log(ratio) ** 2 for ratio in (self.per_s, self.ttft, self.tpot))


@dataclass(frozen=True)
class ServerPasses:
    """The passes of a server, and how the closed loops look that are simulated with them.

    ``alone`` is whether one user was measured, from which the time of a prompt is known best. ``server`` is
    what was assumed of a server that holds several sequences.
    """

    steps: MeasuredSteps
    checks: tuple[Check, ...]
    alone: bool
    server: _Server | None = None

    @property
    def distance(self) -> float:
        """Return how far the simulated closed loops are from the measured ones (see `Check.distance`)."""
        return math.fsum(check.distance for check in self.checks)

    @property
    def words(self) -> str:
        """Say what was measured, what was interpolated, and what the closed loops look like if simulated."""
        return "; ".join((self._sequences(), self._prompts(), self._seen()))

    def _sequences(self) -> str:
        sizes = [size for size, _ in self.steps.steps_s]
        if self.steps.most == 1:
            if self.checks[-1].users > 1:
                return "it answers one request after the other, as its times with several users say"
            return "measured with 1 user only, so it is planned with one request at a time"
        found = f"steps of {join_words([str(size) for size in sizes])} sequences at once from closed loops"
        between = any(b - a > 1 for a, b in pairwise(sizes))
        below = f", fewer taken as {sizes[0]}" if sizes[0] > 1 else ""
        return f"{found}{', others interpolated' if between else ''}{below}, more than {sizes[-1]} wait"

    def _prompts(self) -> str:
        if not self.alone:
            return "the time of a prompt from several users at once (no row has 1 user)"
        kept = self.steps.prompt_fixed_s
        return "prompts from the row of 1 user" + (
            f", of which {1000 * kept:.3g} ms for each pass, however many tokens it reads" if kept else ""
        )

    def _seen(self) -> str:
        cells = (f"{one.users} users {one.per_s:.2f}, {one.ttft:.2f}, {one.tpot:.2f}" for one in self.checks)
        return f"simulated ÷ measured of requests/s, TTFT, TPOT: {'; '.join(cells)}"


def server_passes(rows: Sequence[UsersRow], lengths: tuple[int, int]) -> ServerPasses:
    """Return the passes with which the simulated closed loops are nearest to those of ``rows``.

    All rows have requests of ``lengths`` (input, output tokens). The time of a step follows from the rate of
    each row. Three things are chosen by the times of the tokens: how many sequences the server holds at once
    (one of the numbers of users, or 1), whether an idle server begins with the first request alone, and which
    share of a prompt's time grows with its tokens; the rest is spent once in a pass that reads prompts.
    Raises UsageError without rows, for replies of one token, and for times that are not above 0.
    """
    if not rows or lengths[1] < 2 or min(min(one.per_s, one.ttft_s, one.tpot_s) for one in rows) <= 0:
        raise UsageError("a server needs closed loops with times above 0 and replies of two tokens or more")
    loops = sorted(rows, key=lambda one: one.users)
    alone = _one_at_a_time(loops, lengths)
    servers = [
        _Server(tuple(loops), lengths, places, apart_s)
        for places in sorted({one.users for one in loops} - {1})
        for apart_s in (0.0, APART_S)
    ]
    tried = {server: _nearest([server.passes(growing) for growing in COARSE]) for server in servers}
    likely = sorted(servers, key=lambda server: tried[server].distance)[:LIKELY]
    return _nearest([alone, *(found for server in likely for found in server.searched())])


def _nearest(found: Sequence[ServerPasses]) -> ServerPasses:
    return min(found, key=lambda one: one.distance)


def checked(row: UsersRow, steps: MeasuredSteps, lengths: tuple[int, int], apart_s: float = 0.0) -> Check:
    """Simulate one closed loop, and compare it with what was measured."""
    count = min(row.requests, max(LEAST_SIMULATED, ROUNDS * row.users))
    replies = closed_loop(row.users, count, lengths, steps, apart_s)
    per_s = len(replies) / max(one.last_s for one in replies)
    tpot_s = fmean(one.tpot_s or 0.0 for one in replies)
    ttft_s = fmean(one.ttft_s for one in replies)
    return Check(row.users, per_s / row.per_s, ttft_s / row.ttft_s, tpot_s / row.tpot_s)


def _one_at_a_time(loops: Sequence[UsersRow], lengths: tuple[int, int]) -> ServerPasses:
    """Return the passes of a server that answers one request after the other: each takes 1 / rate."""
    n_in, n_out = lengths
    row = loops[0]
    prompt_s = row.ttft_s if row.users == 1 else 1 / row.per_s - (n_out - 1) * row.tpot_s
    steps = MeasuredSteps(max(prompt_s, LEAST_S) / n_in, ((1, row.tpot_s),))
    return ServerPasses(steps, tuple(checked(one, steps, lengths) for one in loops), row.users == 1)


@dataclass(frozen=True)
class _Server:
    """What is assumed of a server while its passes are solved for; ``loops`` are in order of their users."""

    loops: tuple[UsersRow, ...]
    lengths: tuple[int, int]
    places: int
    apart_s: float

    def searched(self) -> Sequence[ServerPasses]:
        """Return the passes with some shares of a prompt's time, the last one refined beside the best."""
        from scipy.optimize import minimize_scalar

        found = [self.passes(1 - part / GRID) for part in range(GRID + 1)]
        share = 1 - found.index(_nearest(found)) / GRID
        refined = minimize_scalar(
            lambda growing: self.passes(growing).distance,
            bounds=(max(share - 1 / GRID, 0.0), min(share + 1 / GRID, 1.0)),
            method="bounded",
            options={"xatol": REFINED},
        )
        return [*found, self.passes(float(refined.x))]

    def passes(self, growing: float) -> ServerPasses:
        """Solve for the steps, smallest first, if the share ``growing`` of a prompt's time grows with it."""
        prompt_s = self.loops[0].ttft_s / self.loops[0].users
        fixed_s = (1 - growing) * prompt_s
        steps = MeasuredSteps(growing * prompt_s / self.lengths[0], (), CHUNK, fixed_s)
        for size in sorted({min(one.users, self.places) for one in self.loops}):
            alike = [one for one in self.loops if min(one.users, self.places) == size]
            step_s = fmean(self._step_s(one, steps, size) for one in alike)
            steps = replace(steps, steps_s=(*steps.steps_s, (size, step_s)))
        checks = tuple(checked(one, steps, self.lengths, self.apart_s) for one in self.loops)
        return ServerPasses(steps, checks, self.loops[0].users == 1, self)

    def _step_s(self, row: UsersRow, steps: MeasuredSteps, size: int) -> float:
        """Return the seconds of a step of ``size`` sequences; ``steps`` has those of fewer.

        With one user it is the time per further token. With more it is solved for the measured rate, but is
        at least the time of a step of fewer sequences.
        """
        from scipy.optimize import brentq

        if row.users == 1:
            return row.tpot_s
        least_s = steps.steps_s[-1][1] if steps.steps_s else LEAST_S

        def surplus(step_s: float) -> float:
            tried = replace(steps, steps_s=(*steps.steps_s, (size, step_s)))
            return checked(row, tried, self.lengths, self.apart_s).per_s - 1

        if surplus(least_s) <= 0:
            return least_s
        cycle_s = row.users / row.per_s
        return float(brentq(surplus, least_s, least_s + cycle_s, xtol=SOLVED * cycle_s, rtol=SOLVED))
