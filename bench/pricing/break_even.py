"""Compute from which utilisation and volume your own machine is cheaper than an API.

A machine costs money for every hour, an API for every request. All functions here are pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError
from bench.pricing.hardware import HOURS_PER_MONTH
from bench.stats.intervals import Interval

FORMULA_OWN_REQUEST: Final = "(H / u + B) * S / 3600"
FORMULA_UTILISATION: Final = "u* = H * S / 3600 / (C_api - B * S / 3600)"
FORMULA_VOLUME: Final = f"u* * servers * {HOURS_PER_MONTH} * 3600 / S, requests a month on one machine"
ROUNDING: Final = 1e-9  # keeps a rounding error from losing a server: two halves fill a machine


def servers_of(share: float) -> int:
    """Return how many servers fit on a machine if each uses ``share`` of it; 1 if a server needs several."""
    return max(int(1 / share + ROUNDING), 1)


def place_of(share: float) -> float:
    """Return the part of a machine that must be rented for a server that uses ``share`` of it.

    A machine is rented as a whole. On 8 processors there is room for two servers of 3, so each takes half of
    the machine. A server that needs several machines takes as many.
    """
    return share if share > 1 else 1 / servers_of(share)


@dataclass(frozen=True)
class OwnServing:
    """What a server of your own costs, and how fast it is.

    ``hour_usd`` (H) is paid for every hour, ``busy_hour_usd`` (B) is added for each hour of work, and
    ``request_s`` (S) is the seconds of work of a request with its 95 % bounds. ``servers`` is how many such
    servers fit on one machine, because a machine can only be rented as a whole. ``unused_hour_usd`` is what
    an hour of the part that none of them can use costs, divided by ``servers``.
    """

    hour_usd: float
    busy_hour_usd: float
    request_s: Interval
    servers: int = 1
    unused_hour_usd: float = 0.0

    @property
    def rented_hour_usd(self) -> float:
        """Return the US dollars that must be paid for every hour of a server, on a machine full of them."""
        return self.hour_usd + self.unused_hour_usd

    def __post_init__(self) -> None:
        for name in ("hour_usd", "busy_hour_usd", "unused_hour_usd"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise UsageError(f"{name} must be a number from 0, got {value!r}")
        if self.request_s.value <= 0:
            raise UsageError(f"a request takes more than 0 s, got {self.request_s.value!r}")

    def request_usd(self, utilisation: float) -> Interval:
        """Return the US dollars per request if the machine works this share of the hours, in (0, 1]."""
        if not 0 < utilisation <= 1:
            raise UsageError(f"utilisation must be above 0 and at most 1, got {utilisation:g}")
        return _each(self.request_s, lambda s: (self.hour_usd / utilisation + self.busy_hour_usd) * s / 3600)


@dataclass(frozen=True)
class BreakEven:
    """The point at which a machine and an API cost the same.

    ``utilisation`` is the share of hours that all servers of the machine must work. Above 1 the machine never
    pays, because it costs more than the API even if it always works. ``requests_per_month`` is the volume of
    one whole machine at that share, or None if it never pays. ``at_full`` is the price of a request on a
    machine that always works, divided by the API's price; it is infinite for a free API.
    """

    utilisation: Interval
    requests_per_month: float | None
    at_full: float

    @property
    def pays(self) -> bool:
        """Return whether there is a utilisation at which the machine costs no more than the API."""
        return self.utilisation.value <= 1


def break_even(own: OwnServing, api_request_usd: float) -> BreakEven:
    """Return the utilisation and the volume at which ``own`` costs as much as an API.

    ``api_request_usd`` is what the API bills for a request. Raises UsageError if it is negative or not
    finite.
    """
    if not math.isfinite(api_request_usd) or api_request_usd < 0:
        raise UsageError(f"an API's price must be a number from 0, got {api_request_usd!r}")

    def share(seconds: float) -> float:
        left = api_request_usd - own.busy_hour_usd * seconds / 3600
        return own.rented_hour_usd * seconds / 3600 / left if left > 0 else math.inf

    utilisation = _each(own.request_s, share)
    full_usd = (own.rented_hour_usd + own.busy_hour_usd) * own.request_s.value / 3600
    at_full = full_usd / api_request_usd if api_request_usd else math.inf
    if utilisation.value > 1:
        return BreakEven(utilisation, None, at_full)
    volume = utilisation.value * own.servers * HOURS_PER_MONTH * 3600 / own.request_s.value
    return BreakEven(utilisation, volume, at_full)


def _each(interval: Interval, rising: Callable[[float], float]) -> Interval:
    """Apply a rising function to a value and to its bounds, so that the bounds keep their order."""
    low, high = (None if bound is None else rising(bound) for bound in (interval.low, interval.high))
    return Interval(rising(interval.value), low, high)
