"""Simulate the queue of one server with continuous batching, request by request.

Requests arrive at random times whose gaps are exponential (a Poisson process) and do not wait for each other:
an open loop. The server does one pass after the other. In each it decodes one token of every sequence that
it holds, and reads as much of the oldest prompts as there is room for, as vLLM's scheduler does. A prompt is
taken in when a place is free. Sequences are not put aside again once they run.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from bench.errors import UsageError
from bench.plan.steps import Steps

WARM_UP = 0.1  # share of the requests that begin with an empty server and do not count
# Decoding passes for which the time of one is used: the context grows by this share at most, or by little.
PASSES_AT_ONCE, GROWTH = 32, 0.02


@dataclass(frozen=True)
class Request:
    """One request: when it arrives in seconds, and its tokens in and out."""

    arrival_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Reply:
    """When the first and the last token of a request came, in seconds on the clock of its arrival."""

    request: Request
    first_s: float
    last_s: float

    @property
    def ttft_s(self) -> float:
        """Return the time from arrival to first token, waiting included."""
        return self.first_s - self.request.arrival_s

    @property
    def tpot_s(self) -> float | None:
        """Return the mean time of a further token; None for a reply of one token."""
        more = self.request.output_tokens - 1
        return (self.last_s - self.first_s) / more if more else None


@dataclass(frozen=True)
class Simulated:
    """What a server did: every reply that counts in the order of arrival, and the share of time it worked."""

    replies: tuple[Reply, ...]
    busy_share: float


def poisson(
    rate: float, count: int, input_tokens: float, output_tokens: float, seed: int = 0
) -> list[Request]:
    """Return ``count`` requests that arrive at ``rate`` a second, all with the mean numbers of tokens.

    The same seed gives the same gaps in units of 1 / rate, so that two rates differ by nothing else.
    """
    if not rate > 0 or not math.isfinite(rate):
        raise UsageError(f"the rate of requests must be above 0 a second, got {rate!r}")
    gaps = random.Random(seed)
    arrivals = accumulate(gaps.expovariate(rate) for _ in range(count))
    n_in, n_out = max(round(input_tokens), 1), max(round(output_tokens), 1)
    return [Request(at, n_in, n_out) for at in arrivals]


def simulate(requests: Sequence[Request], steps: Steps) -> Simulated:
    """Return when each request is answered by one server. ``requests`` are in the order of arrival."""
    if steps.most == 1:
        return _one_by_one(requests, steps)
    server = _Server(requests, steps)
    while server.work():
        pass
    replies = [Reply(request, server.first_s[i], server.last_s[i]) for i, request in enumerate(requests)]
    return _counted(replies, server.busy_s, server.now_s)


def _one_by_one(requests: Sequence[Request], steps: Steps) -> Simulated:
    """Do the same for a server that holds one request at a time: each takes what it takes alone, after those
    before it (Lindley's recursion)."""

    @cache
    def alone(n_in: int, n_out: int) -> tuple[float, float]:
        server = _Server([Request(0.0, n_in, n_out)], steps)
        while server.work():
            pass
        return server.first_s[0], server.last_s[0]

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
    """The state between two passes. ``passes`` counts the decoding passes, so that a sequence ends when the
    count reaches what it was at its first token plus its further tokens."""

    def __init__(self, requests: Sequence[Request], steps: Steps) -> None:
        self.requests, self.steps = requests, steps
        self.now_s = self.busy_s = 0.0
        self.arrived, self.passes, self.context = 0, 0, 0
        self.waiting: deque[int] = deque()
        self.reading: deque[tuple[int, int]] = (
            deque()
        )  # a request, and what is still to be read of its prompt
        self.running: list[tuple[int, int]] = []  # (the pass that ends it, the request), a heap
        self.first_s, self.last_s = [0.0] * len(requests), [0.0] * len(requests)

    def work(self) -> bool:
        """Do the next pass or passes, or wait for the next request; False when all are answered."""
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
        """Read the oldest prompt in a pass of its own, or as much of the oldest prompts as goes into a pass
        in which the running sequences get a token too."""
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
        """Note the first token of a request, and hold its sequence if there are more to come."""
        request = self.requests[index]
        self.first_s[index] = self.last_s[index] = self.now_s
        if request.output_tokens > 1:
            heapq.heappush(self.running, (self.passes + request.output_tokens - 1, index))
            self.context += request.input_tokens + 1

    def _decode(self) -> None:
        """Decode until the next sequence ends, or until the next request comes if there is room for it."""
        each_s = self.steps.seconds(len(self.running), self.context, 0)
        at_once = max(PASSES_AT_ONCE, int(GROWTH * self.context / len(self.running)))
        passes = min(self.running[0][0] - self.passes, at_once)
        if len(self.running) < self.steps.most and self.arrived < len(self.requests):
            until_s = self.requests[self.arrived].arrival_s - self.now_s
            passes = min(passes, max(math.ceil(until_s / each_s), 1))
        self._spend(passes * each_s)
        self._count(passes)

    def _count(self, passes: int) -> None:
        """Note decoding passes, and the end of the sequences that they finish."""
        self.passes += passes
        self.context += passes * len(self.running)
        while self.running and self.running[0][0] <= self.passes:
            _, index = heapq.heappop(self.running)
            self.last_s[index] = self.now_s
            request = self.requests[index]
            self.context -= request.input_tokens + request.output_tokens

    def _spend(self, seconds: float) -> None:
        self.now_s += seconds
        self.busy_s += seconds
