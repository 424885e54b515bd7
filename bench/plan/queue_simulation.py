"""Simulate the queue of one server with continuous batching, request by request.

Requests arrive in an open loop (see ``arrivals.py``). The server does one pass after the other. As in vLLM's
scheduler, a pass decodes one token of every running sequence and reads as much of the oldest prompts as it
has room for. A prompt is admitted when a place is free. Running sequences are never preempted.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.plan.arrivals import Request
from bench.plan.pass_times import Steps

WARM_UP = 0.1  # share of the requests at the start that do not count, because the server was still empty
# To be fast, several decoding passes get the time of the first one: up to PASSES_AT_ONCE of them, and more if
# the context grows by at most the share GROWTH meanwhile.
PASSES_AT_ONCE, GROWTH = 32, 0.02


@dataclass(frozen=True)
class Reply:
    """The times of the first and last token of a request, in seconds on the same clock as its arrival."""

    request: Request
    first_s: float
    last_s: float

    @property
    def ttft_s(self) -> float:
        """Return the time from arrival to the first token in seconds, including the waiting time."""
        return self.first_s - self.request.arrival_s

    @property
    def tpot_s(self) -> float | None:
        """Return the mean time per further token in seconds, or None for a reply of one token."""
        more = self.request.output_tokens - 1
        return (self.last_s - self.first_s) / more if more else None


@dataclass(frozen=True)
class Simulated:
    """The result of a simulation: the replies after the warm-up, in order of arrival, and the busy share."""

    replies: tuple[Reply, ...]
    busy_share: float


def simulate(requests: Sequence[Request], steps: Steps) -> Simulated:
    """Simulate one server that answers ``requests``, which must be in order of arrival."""
    if steps.most == 1:
        return _one_by_one(requests, steps)
    server = _Server(requests, steps)
    replies = server.run()
    return _counted(replies, server.busy_s, server.now_s)


def _one_by_one(requests: Sequence[Request], steps: Steps) -> Simulated:
    """Simulate a server that holds one request at a time, with Lindley's recursion.

    A request starts when it has arrived and the one before it has ended, and then takes its time alone.
    """

    @cache
    def alone(n_in: int, n_out: int) -> tuple[float, float]:
        (reply,) = _Server([Request(0.0, n_in, n_out)], steps).run()
        return reply.first_s, reply.last_s

    replies, now_s, busy_s = [], 0.0, 0.0
    for request in requests:
        first_s, whole_s = alone(request.input_tokens, request.output_tokens)
        start_s = max(now_s, request.arrival_s)
        now_s, busy_s = start_s + whole_s, busy_s + whole_s
        replies.append(Reply(request, start_s + first_s, now_s))
    return _counted(replies, busy_s, now_s)


def _counted(replies: Sequence[Reply], busy_s: float, now_s: float) -> Simulated:
    counted = replies[int(len(replies) * WARM_UP) :]
    return Simulated(tuple(counted), busy_s / now_s if now_s else 0.0)


class _Server:
    """The state of a server between two passes.

    ``passes`` counts the decoding passes. A sequence ends when this count has risen, since the sequence's
    first token, by the number of its further tokens.
    """

    def __init__(self, requests: Sequence[Request], steps: Steps) -> None:
        self.requests, self.steps = requests, steps
        self.now_s = self.busy_s = 0.0
        self.arrived, self.passes, self.context = 0, 0, 0
        self.waiting: deque[int] = deque()
        self.reading: deque[tuple[int, int]] = deque()  # (request, prompt tokens that are still to be read)
        self.running: list[tuple[int, int]] = []  # a heap of (the pass that ends the sequence, request)
        self.first_s, self.last_s = [0.0] * len(requests), [0.0] * len(requests)

    def run(self) -> list[Reply]:
        """Answer all requests, and return the replies in the order of arrival."""
        while self.work():
            pass
        return list(map(Reply, self.requests, self.first_s, self.last_s))

    def work(self) -> bool:
        """Do the next pass or passes, or wait for the next request. Return False when all are answered."""
        self._arrive()
        while self.waiting and len(self.running) + len(self.reading) < self.steps.most:
            index = self.waiting.popleft()
            self.reading.append((index, self.requests[index].input_tokens))
        if self.reading:
            self._read()
        elif self.running:
            self._decode()
        elif self.arrived < len(self.requests):
            self.now_s = self.requests[self.arrived].arrival_s
        else:
            return False
        return True

    def _arrive(self) -> None:
        while self.arrived < len(self.requests) and self.requests[self.arrived].arrival_s <= self.now_s:
            self.waiting.append(self.arrived)
            self.arrived += 1

    def _read(self) -> None:
        """Do a pass that reads prompts.

        Without chunks it reads only the oldest prompt. With chunks it decodes one token of every running
        sequence, and reads as much of the oldest prompts as then fits.
        """
        if self.steps.chunk is None:
            decoding, room = 0, self.reading[0][1]
        else:
            decoding = len(self.running)
            room = max(self.steps.chunk - decoding, 1)
        read, pairs, before, finished = 0, 0.0, 0, []
        while self.reading and read < room:
            index, left = self.reading.popleft()
            part = min(left, room - read)
            done = self.requests[index].input_tokens - left
            read, before = read + part, before + done
            pairs += part * done + part**2 / 2
            if part < left:
                self.reading.appendleft((index, left - part))
            else:
                finished.append(index)
        context = self.context if decoding else 0
        self._spend(self.steps.seconds(decoding, context, read, pairs, before))
        if decoding:
            self._count(1)
        for index in finished:
            self._begin(index)

    def _begin(self, index: int) -> None:
        """Record the first token of a request, and start its sequence if it has more tokens."""
        request = self.requests[index]
        self.first_s[index] = self.last_s[index] = self.now_s
        if request.output_tokens == 1:
            self._ended()
        else:
            heapq.heappush(self.running, (self.passes + request.output_tokens - 1, index))
            self.context += request.input_tokens + 1

    def _decode(self) -> None:
        """Decode until a sequence ends, or until the next request arrives if there is room for it."""
        each_s = self.steps.seconds(len(self.running), self.context, 0)
        at_once = max(PASSES_AT_ONCE, int(GROWTH * self.context / len(self.running)))
        passes = min(self.running[0][0] - self.passes, at_once)
        if len(self.running) < self.steps.most and self.arrived < len(self.requests):
            until_s = self.requests[self.arrived].arrival_s - self.now_s
            passes = min(passes, max(math.ceil(until_s / each_s), 1))
        self._spend(passes * each_s)
        self._count(passes)

    def _count(self, passes: int) -> None:
        """Record decoding passes, and the end of the sequences that they finish."""
        self.passes += passes
        self.context += passes * len(self.running)
        while self.running and self.running[0][0] <= self.passes:
            _, index = heapq.heappop(self.running)
            self.last_s[index] = self.now_s
            self.context -= self.requests[index].input_tokens + self.requests[index].output_tokens
            self._ended()

    def _ended(self) -> None:
        """Take note that a reply is complete; in an open loop nothing follows."""

    def _spend(self, seconds: float) -> None:
        self.now_s += seconds
        self.busy_s += seconds


class _ServerOfUsers(_Server):
    """A server whose users each send the next request when the last reply is complete."""

    def __init__(self, users: int, requests: Sequence[Request], steps: Steps, apart_s: float) -> None:
        super().__init__(requests, steps)
        self.requests = self._sent = list(requests[:users])
        self._all, self._apart_s = len(requests), apart_s

    def _ended(self) -> None:
        if len(self._sent) < self._all:
            at_s = max(self.now_s, self._sent[-1].arrival_s) + self._apart_s
            self._sent.append(replace(self._sent[-1], arrival_s=at_s))


def closed_loop(
    users: int, count: int, lengths: tuple[int, int], steps: Steps, apart_s: float = 0.0
) -> tuple[Reply, ...]:
    """Simulate ``count`` requests of ``lengths`` (input, output tokens) that ``users`` send in a closed loop.

    No two requests come within ``apart_s``, so that an idle server begins with one of them alone. No reply is
    left out: the first and last requests count, as in a measured load.
    """
    requests = [Request(apart_s * number, *lengths) for number in range(count)]
    return tuple(_ServerOfUsers(users, requests, steps, apart_s).run())
