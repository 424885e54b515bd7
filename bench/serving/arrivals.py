"""Decide when requests come: from users who wait for their answer, or in a stream that waits for nobody.

An open loop has times, in seconds after the start, that do not depend on the server. A closed loop has users:
each sends its next request when the answer to the last one is complete.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

from bench.errors import UsageError
from bench.formatting import count

MOST_REQUESTS = 1_000_000
LONGEST_S = 30 * 86_400.0  # until the last request comes
MOST_PROMPT_TOKENS = 100_000_000  # of all prompts of a load together


@dataclass(frozen=True)
class ClosedLoop:
    """``users`` who send ``requests`` in all.

    ``turns`` requests in a row are a conversation, which one user sends in order; ``pause_s`` passes between
    an answer and the next turn.
    """

    users: int
    requests: int
    turns: int = 1
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        _positive("users", self.users)
        _requests(self.requests)
        _positive("turns", self.turns)
        pauses = self.requests - math.ceil(self.requests / self.turns)
        if self.pause_s * pauses / self.users > LONGEST_S:
            raise UsageError(
                f"{self.title}: the pauses alone would take more than {LONGEST_S / 86_400:.0f} days: send "
                "fewer requests, or pause for less"
            )

    @property
    def title(self) -> str:
        """Say it for people."""
        talks = f" in conversations of {self.turns}" if self.turns > 1 else ""
        return f"closed loop, {count(self.users, 'user')}, {self.requests} requests{talks}"


@dataclass(frozen=True)
class OpenLoop:
    """The times at which requests come, in seconds after the start, in order."""

    times_s: tuple[float, ...]
    name: str

    def __post_init__(self) -> None:
        _requests(len(self.times_s))
        if self.times_s[0] < 0 or any(b < a for a, b in itertools.pairwise(self.times_s)):
            raise UsageError("arrivals must be in order, from 0 s on")
        if not self.times_s[-1] <= LONGEST_S:
            raise UsageError(
                f"{self.name}: the last of {len(self.times_s)} requests would come after more than "
                f"{LONGEST_S / 86_400:.0f} days: raise the rate, or the speed of a trace"
            )

    @property
    def requests(self) -> int:
        """Return how many requests come."""
        return len(self.times_s)

    @property
    def title(self) -> str:
        """Say it for people."""
        return f"{self.name}, {self.requests} requests"


Schedule = ClosedLoop | OpenLoop
Lengths = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sharing:
    """What prompts have in common: a beginning of so many tokens, and ``turns`` requests in a row of which
    each begins with the whole prompt before it and an answer."""

    prefix_tokens: int = 0
    turns: int = 1


NOTHING_SHARED = Sharing()


@dataclass(frozen=True)
class Spoken:
    """Prompts that people wrote, in the order in which they are asked.

    ``said`` are (prompt, recorded answer or None). A prompt of more than ``most_input`` tokens is passed
    over. A reply is as long as the recorded answer, but not longer than ``most_output`` tokens; without an
    answer it has this length.
    """

    said: tuple[tuple[str, str | None], ...]
    most_input: int
    most_output: int


@dataclass(frozen=True)
class Planned:
    """When requests come, the input and output tokens of each, and what their prompts have in common.

    ``spoken`` are the prompts where people wrote them; then ``lengths`` are the most that a request can have.
    """

    schedule: Schedule
    lengths: Lengths
    sharing: Sharing = NOTHING_SHARED
    spoken: Spoken | None = None

    def __post_init__(self) -> None:
        tokens = 0 if self.spoken else sum(n_in for n_in, _ in self.lengths)
        if tokens > MOST_PROMPT_TOKENS:
            most = f"{MOST_PROMPT_TOKENS:,} are the most: send fewer requests, or shorter ones"
            raise UsageError(f"the prompts of this load have {tokens:,} tokens together, and {most}")


def constant(rate: float, requests: int) -> OpenLoop:
    """Return requests at equal distances, ``rate`` a second."""
    _positive("rate", rate)
    _requests(requests)
    return OpenLoop(tuple(number / rate for number in range(requests)), f"constant, {rate:g} requests/s")


def poisson(rate: float, requests: int, seed: int) -> OpenLoop:
    """Return requests that know nothing of each other: exponential distances with the mean 1/rate."""
    _positive("rate", rate)
    _requests(requests)
    draw = random.Random(seed)
    return OpenLoop(_summed(draw.expovariate(rate) for _ in range(requests)), f"Poisson, {rate:g} requests/s")


def gamma(rate: float, burstiness: float, requests: int, seed: int) -> OpenLoop:
    """Return requests at gamma distances with the shape ``burstiness``, as in vLLM: 1 is Poisson, and below 1
    there are bursts.

    Their mean is 1/rate, their coefficient of variation 1/√burstiness.
    """
    _positive("rate", rate)
    _positive("burstiness", burstiness)
    _requests(requests)
    draw = random.Random(seed)
    gaps = (draw.gammavariate(burstiness, 1 / rate / burstiness) for _ in range(requests))
    return OpenLoop(_summed(gaps), f"gamma, {rate:g} requests/s, burstiness {burstiness:g}")


def at_once(requests: int) -> OpenLoop:
    """Return requests that all come at the start (offline)."""
    _requests(requests)
    return OpenLoop((0.0,) * requests, "all at once")


def _summed(gaps: Iterable[float]) -> tuple[float, ...]:
    """Return the sums of ``gaps``, moved so that the first request comes at 0 s."""
    times = list(itertools.accumulate(gaps))
    return tuple(time - times[0] for time in times)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{name} must be above 0, got {value:g}")


def _requests(number: int) -> None:
    if not 1 <= number <= MOST_REQUESTS:
        raise UsageError(f"requests must be from 1 to {MOST_REQUESTS}, got {number}")
