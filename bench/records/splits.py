"""What a model that is split over two processes did: time and bytes on each side, in each phase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitPhase:
    """The passes of one phase, prompts or single tokens.

    ``positions`` are the token positions that crossed the link. ``edge_s`` and ``cloud_s`` are the seconds in
    which each process computed, ``link_s`` those that the link took and ``link_asked_s`` those that it was
    asked for. ``socket_s`` is the rest of the time: the real socket, and waking up a process. The bytes are
    counted at the socket, by the edge.
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
        """Return the seconds of all passes, from the first layer to the token."""
        return self.edge_s + self.cloud_s + self.link_s + self.socket_s


@dataclass(frozen=True)
class SplitWork:
    """The work of both processes since it was last read, and the prices of both, None where none was given.

    ``processes`` are the ids of the two, and ``row_numbers`` how many numbers share a scale where they are
    rounded. A model whose prompts alone are read elsewhere has all its layers on both sides.
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
