"""Draw the requests of an open loop: a Poisson process, whose exponential gaps do not depend on replies."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from bench.errors import UsageError


@dataclass(frozen=True)
class Request:
    """One request: its arrival time in seconds, and its input and output tokens."""

    arrival_s: float
    input_tokens: int
    output_tokens: int


def poisson(
    rate: float, count: int, input_tokens: float, output_tokens: float, seed: int = 0
) -> list[Request]:
    """Draw ``count`` requests that arrive at ``rate`` per second, all with the same numbers of tokens.

    The gaps are stratified: one is drawn from each of ``count`` equally likely parts of the exponential
    distribution, and their order is drawn too. So their mean and the share of short ones, which decides how
    many requests wait, are those of the distribution and not those of one seed. The same seed gives the same
    gaps in units of 1 / rate, so that simulations at two rates are comparable. Raises UsageError if ``rate``
    is not above 0.
    """
    if not rate > 0 or not math.isfinite(rate):
        raise UsageError(f"the rate of requests must be above 0 a second, got {rate!r}")
    n_in, n_out = max(round(input_tokens), 1), max(round(output_tokens), 1)
    return [Request(at / rate, n_in, n_out) for at in _arrivals(count, seed)]


@lru_cache(maxsize=4)
def _arrivals(count: int, seed: int) -> tuple[float, ...]:
    """Draw ``count`` times of arrival in units of the mean gap; a search asks for them at many rates."""
    drawn = random.Random(seed)
    gaps = [-math.log1p(-(part + drawn.random()) / count) for part in range(count)]
    drawn.shuffle(gaps)
    return tuple(accumulate(gaps))
