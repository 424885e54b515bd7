"""Record a load of a server: every request, how the client kept up, and why the load may not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.records.json_form import Json
from bench.records.samples import Sample

# Beyond any of these the client, and not the server, limits the load.
MOST_LATE_MS = 5.0  # p99 of sent − scheduled
MOST_LAG_MS = 10.0  # p99 of the delay of the event loop: two time slices of Linux on a busy core
MOST_CPU = 0.9  # share of one core


@dataclass(frozen=True)
class ClientOverhead:
    """Record how well the client kept to its schedule.

    ``late_*`` is how late requests were sent, and ``lag_*`` how late the event loop ran (ms). ``cpu_share``
    is the client's use of one core. ``loop`` names the event loop. A p99 is exceeded by 1 % of the values,
    and by one value if there are few.
    """

    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    cpu_share: float
    loop: str

    def reasons(self) -> tuple[str, ...]:
        """Return the reasons why the client was the bottleneck; empty if it was not."""
        reasons = []
        if self.late_p99_ms > MOST_LATE_MS:
            reasons.append(
                f"the client was the bottleneck: 1 % of the requests were sent {self.late_p99_ms:.1f} ms "
                f"late or later, and at most {MOST_LATE_MS:g} ms are allowed"
            )
        if self.lag_p99_ms is not None and self.lag_p99_ms > MOST_LAG_MS:
            reasons.append(
                f"the client was the bottleneck: its event loop was {self.lag_p99_ms:.1f} ms late or later "
                f"in 1 % of the looks, and at most {MOST_LAG_MS:g} ms are allowed"
            )
        if self.cpu_share > MOST_CPU:
            reasons.append(
                f"the client was the bottleneck: it used {self.cpu_share:.0%} of a core, and at most "
                f"{MOST_CPU:.0%} are allowed"
            )
        return tuple(reasons)

    def to_json(self) -> Json:
        """Return the record as JSON for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ClientOverhead:
        """Read back what ``to_json`` wrote."""
        return cls(**stored)


@dataclass(frozen=True)
class LoadBlock:
    """Record one load of one server, which is one block of a row.

    ``stopped`` says why the load was stopped early ('' if it was not). ``search`` is the result of a search
    for the highest rate; ``samples`` are then from the load at that rate.
    """

    schedule: str
    samples: tuple[Sample, ...]
    client: ClientOverhead
    stopped: str = ""
    search: Mapping[str, Any] | None = None
    noise: Mapping[str, Any] = field(default_factory=dict)

    @property
    def void(self) -> tuple[str, ...]:
        """Return the reasons why the load does not count: a slow client, or an early stop."""
        return (*self.client.reasons(), *([self.stopped] if self.stopped else []))


def sharing_words(pinned: Mapping[str, list[int]] | None, why_not: str = "") -> str:
    """Return a phrase for people: how client and server share the processors; '' if that is not known.

    ``pinned`` maps ``server`` and ``client`` to their processor numbers; ``why_not`` says why nothing was
    pinned.
    """
    if pinned:
        server, client = (", ".join(map(str, pinned[side])) for side in ("server", "client"))
        return f"pinned apart: the server on processors {server}, the client on {client}"
    return f"client and server share the processors: {why_not}" if why_not else ""
