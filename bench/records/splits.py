"""Record the work of a model that is split over two processes: time and bytes per side and phase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitPhase:
    """Record the passes of one phase, prefill or decode.

    ``positions`` are the token positions that crossed the link. ``edge_s`` and ``cloud_s`` are the seconds
    that each process computed. ``link_s`` is the time that the simulated link took, and ``link_asked_s`` the
    time that it should have taken by its settings. ``socket_s`` is the rest: the real socket, and the time to
    wake up a process. The edge counts the bytes at its socket.
    """

    passes: int = 0
    positions: int = 0
    edge_s: float = 0.0
    cloud_s: float = 0.0
    link_s: float = 0.0
    link_asked_s: float = 0.0
    socket_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0

    @property
    def total_s(self) -> float:
        """Return the seconds of all passes, each from the first layer to the next token."""
        return self.edge_s + self.cloud_s + self.link_s + self.socket_s


@dataclass(frozen=True)
class SplitWork:
    """Record the work of both processes since it was last read, and their prices (None if not given).

    ``processes`` are the two process ids. ``row_numbers`` is how many numbers share a scale when they are
    rounded for the link. If only the prefill runs in the cloud, both sides have all layers.
    """

    edge_layers: int
    cloud_layers: int
    processes: tuple[int, int]
    row_numbers: int
    prefill: SplitPhase
    decode: SplitPhase
    edge_usd_per_hour: float | None = None
    cloud_usd_per_hour: float | None = None
    egress_usd_per_gb: float | None = None
