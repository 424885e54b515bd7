"""When a machine of one's own is cheaper than an API: where both cost the same.

Pure functions. A machine costs money for every hour, an API for every request.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.errors import UsageError
from bench.stats.intervals import Interval

HOURS_PER_MONTH: Final = 730.0  # 365 days of 24 hours, in twelve parts
FORMULA_OWN_REQUEST: Final = "(H / u + B) * S / 3600"
FORMULA_UTILISATION: Final = "u* = H * S / 3600 / (C_api - B * S / 3600)"
FORMULA_VOLUME: Final = "u* * servers * 730 * 3600 / S, requests a month on one machine"


@dataclass(frozen=True)
class OwnServing:
    """A server: H dollars for every hour, B dollars more for each hour of work, S seconds of work for a
    request, with its 95 % bounds. ``servers`` is how many of them a machine holds: it is rented whole."""

    hour_usd: float
    busy_hour_usd: float
    request_s: Interval
    servers: int = 1

    def __post_init__(self) -> None:
        for name in ("hour_usd", "busy_hour_usd"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise UsageError(f"{name} must be a number from 0, got {value!r}")
        if self.request_s.value <= 0:
            raise UsageError(f"a request takes more than 0 s, got {self.request_s.value!r}")

    def request_usd(self, utilisation: float) -> Interval:
        """Return the dollars of a request if the machine works this share of the hours (0 to 1]."""
        if not 0 < utilisation <= 1:
            raise UsageError(f"utilisation must be above 0 and at most 1, got {utilisation:g}")
        return _each(self.request_s, lambda s: (self.hour_usd / utilisation + self.busy_hour_usd) * s / 3600)


@dataclass(frozen=True)
class BreakEven:
    """Where a machine and an API cost the same.

    ``utilisation`` is the share of hours that all servers of the machine must work; above 1 it never pays,
    because even a machine that always works is dearer. ``requests_per_month`` is the volume at that share on
    one whole machine, None if it never pays. ``at_full`` is the dollars of a request on a machine that always
    works, divided by the API's; infinite for an API that is free.
    """

    utilisation: Interval
    requests_per_month: float | None
    at_full: float

    @property
    def pays(self) -> bool:
        """Return whether there is a utilisation at which the machine is not dearer."""
        return self.utilisation.value <= 1


def break_even(own: OwnServing, api_request_usd: float) -> BreakEven:
    """Return where ``own`` costs what an API bills for a request."""
    if not math.isfinite(api_request_usd) or api_request_usd < 0:
        raise UsageError(f"an API's price must be a number from 0, got {api_request_usd!r}")

    def share(seconds: float) -> float:
        left = api_request_usd - own.busy_hour_usd * seconds / 3600
        return own.hour_usd * seconds / 3600 / left if left > 0 else math.inf

    utilisation = _each(own.request_s, share)
    full_usd = own.request_usd(1.0).value
    at_full = full_usd / api_request_usd if api_request_usd else math.inf
    if utilisation.value > 1:
        return BreakEven(utilisation, None, at_full)
    volume = utilisation.value * own.servers * HOURS_PER_MONTH * 3600 / own.request_s.value
    return BreakEven(utilisation, volume, at_full)


def _each(found: Interval, of: Callable[[float], float]) -> Interval:
    """Apply a function that rises to a value and its bounds."""
    low, high = (None if bound is None else of(bound) for bound in (found.low, found.high))
    return Interval(of(found.value), low, high)
