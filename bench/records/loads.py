"""A load of a server, as the journal keeps it: every request, the client, and why it does not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.records.plain import Json
from bench.records.samples import Sample

MOST_LATE_MS = 5.0  # p99 of sent − scheduled
MOST_LAG_MS = 10.0  # p99 of how late the event loop is: two time slices of Linux on a busy core
MOST_CPU = 0.9  # of one core


@dataclass(frozen=True)
class Honesty:
    """The client, measured: milliseconds, and its share of one core. ``loop`` names the event loop.

    p99 is what 1 % of the values exceed, but at least one of them (``tail``).
    """

    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    cpu_share: float
    loop: str

    def reasons(self) -> tuple[str, ...]:
        """Say why the client was the bottleneck; nothing if it was not."""
        found = []
        if self.late_p99_ms > MOST_LATE_MS:
            found.append(
                f"the client was the bottleneck: 1 % of the requests were sent {self.late_p99_ms:.1f} ms "
                f"late or later, and at most {MOST_LATE_MS:g} ms are allowed"
            )
        if self.lag_p99_ms is not None and self.lag_p99_ms > MOST_LAG_MS:
            found.append(
                f"the client was the bottleneck: its event loop was {self.lag_p99_ms:.1f} ms late or later "
                f"in 1 % of the looks, and at most {MOST_LAG_MS:g} ms are allowed"
            )
        if self.cpu_share > MOST_CPU:
            found.append(
                f"the client was the bottleneck: it used {self.cpu_share:.0%} of a core, and at most "
                f"{MOST_CPU:.0%} are allowed"
            )
        return tuple(found)

    def to_json(self) -> Json:
        """Return it as it stands in the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Honesty:
        """Read back what ``to_json`` wrote."""
        return cls(**found)


@dataclass(frozen=True)
class LoadBlock:
    """One load of one server: a block of a row.

    ``stopped`` says why it ended before its end ('' if it did not). ``search`` is what a search for the
    highest rate found; the samples are then those of the load at that rate.
    """

    schedule: str
    samples: tuple[Sample, ...]
    client: Honesty
    stopped: str = ""
    search: Mapping[str, Any] | None = None
    noise: Mapping[str, Any] = field(default_factory=dict)

    @property
    def void(self) -> tuple[str, ...]:
        """Say why nothing may be concluded from it: the client was the bottleneck, or it did not end."""
        return (*self.client.reasons(), *([self.stopped] if self.stopped else []))


def sharing_words(pinned: Mapping[str, list[int]] | None, why_not: str = "") -> str:
    """Say for people how client and server share the processors of a machine; '' if nothing is known of it.

    ``pinned`` has the processors of each side, by number; ``why_not`` says why nothing was pinned.
    """
    if pinned:
        server, client = (", ".join(map(str, pinned[side])) for side in ("server", "client"))
        return f"pinned apart: the server on processors {server}, the client on {client}"
    return f"client and server share the processors: {why_not}" if why_not else ""
