"""A server with continuous batching as a plain loop, one pass after the other and one token after the other.

It stands for a real server in tests: its times of passes are known, and it is written without the code of
`bench.plan`.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

StepTimes = Callable[[int], float]
PromptTimes = Callable[[int], float]


@dataclass
class Asked:
    """A request: its arrival, its tokens, and when its tokens came, all in seconds."""

    arrival_s: float
    n_in: int
    n_out: int
    tokens_s: list[float] = field(default_factory=list)

    @property
    def ttft_s(self) -> float:
        return self.tokens_s[0] - self.arrival_s

    @property
    def latency_s(self) -> float:
        return self.tokens_s[-1] - self.arrival_s

    @property
    def tpot_s(self) -> float:
        return (self.tokens_s[-1] - self.tokens_s[0]) / (self.n_out - 1)


@dataclass(frozen=True)
class PlainServer:
    """``step_s`` of so many sequences, ``prompt_s`` of so many prompt tokens, ``places`` at once."""

    step_s: StepTimes
    prompt_s: PromptTimes
    places: int

    def answer(
        self, requests: Sequence[Asked], follows: Callable[[float], Asked | None] = lambda _now_s: None
    ) -> list[Asked]:
        """Answer all requests; ``follows`` gives the request that is sent when one has ended, or None."""
        queue, places, ended = sorted(requests, key=lambda one: one.arrival_s), list[Asked](), list[Asked]()
        now_s = 0.0
        while queue or places:
            while queue and queue[0].arrival_s <= now_s and len(places) < self.places:
                places.append(queue.pop(0))
            if not places:
                now_s = queue[0].arrival_s
                continue
            new = [one for one in places if not one.tokens_s]
            now_s += self.step_s(len(places) - len(new)) if len(new) < len(places) else 0.0
            now_s += self.prompt_s(sum(one.n_in for one in new)) if new else 0.0
            for one in list(places):
                one.tokens_s.append(now_s)
                if len(one.tokens_s) == one.n_out:
                    places.remove(one)
                    ended.append(one)
                    if (next_one := follows(now_s)) is not None:
                        insort(queue, next_one, key=lambda one: one.arrival_s)
        return ended

    def closed_loop(
        self, users: int, count: int, n_in: int, n_out: int, pause_s: float = 0.0
    ) -> tuple[float, float, float, list[Asked]]:
        """Return (requests a second, mean TTFT, mean TPOT, the requests). Users pause about ``pause_s``."""
        left, draw = count - users, random.Random(users)

        def follows(now_s: float) -> Asked | None:
            nonlocal left
            left -= 1
            return Asked(now_s + pause_s * draw.uniform(0.5, 1.5), n_in, n_out) if left >= 0 else None

        first = [Asked(number * pause_s, n_in, n_out) for number in range(users)]
        done = self.answer(first, follows)
        whole_s = max(one.tokens_s[-1] for one in done)
        means = fmean(one.ttft_s for one in done), fmean(one.tpot_s for one in done)
        return len(done) / whole_s, *means, done
