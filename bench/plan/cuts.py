"""Find the best layer at which to cut a model between an edge and a cloud, for a given link.

Every layer is tried. The times per layer come from rows that were measured at some cuts, or from another
source; nothing is measured here. Kang et al. 2017 (Neurosurgeon) choose the layer in the same way.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.link import LinkSettings
from bench.records import SplitPhase, SplitWork


@dataclass(frozen=True)
class SideTimes:
    """The seconds per token of one side: ``once_s`` for the work at any cut, and ``layer_s`` per layer."""

    once_s: float
    layer_s: float

    def of(self, layers: int) -> float:
        """Return the seconds per token with this many layers."""
        return self.once_s + layers * self.layer_s

    def slower(self, times: float) -> SideTimes:
        """Return the times of a device that is ``times`` as slow."""
        return SideTimes(times * self.once_s, times * self.layer_s)


@dataclass(frozen=True)
class Cut:
    """One way to cut a model: the layers at the edge, and the seconds per token at each place.

    With all layers at the edge nothing crosses the link. With no layer there the ids of tokens cross it, and
    with some layers the activations do.
    """

    edge_layers: int
    edge_s: float
    cloud_s: float
    link_s: float
    sent_bytes: int
    received_bytes: int

    @property
    def total_s(self) -> float:
        """Return the seconds per token at both places and on the link."""
        return self.edge_s + self.cloud_s + self.link_s


@dataclass(frozen=True)
class Moved:
    """The bytes of a step: sent up as activations, sent up as token ids, and sent down."""

    activations: int
    ids: int
    down: int


def every_cut(
    layers: int, edge: SideTimes, cloud: SideTimes, link: LinkSettings, moved: Moved
) -> tuple[Cut, ...]:
    """Return all cuts, from cloud-only (0 layers at the edge) to edge-only (all layers there).

    With edge-only, the edge also does what the cloud otherwise does once per token.
    """
    cuts = []
    for count in range(layers):
        up = moved.activations if count else moved.ids
        link_s = link.one_way_s(up, "up") + link.one_way_s(moved.down, "down")
        edge_s = edge.of(count) if count else 0.0
        cuts.append(Cut(count, edge_s, cloud.of(layers - count), link_s, up, moved.down))
    slower = edge.layer_s / cloud.layer_s if cloud.layer_s else 1.0
    alone_s = edge.of(layers) + cloud.slower(slower).once_s
    return (*cuts, Cut(layers, alone_s, 0.0, 0.0, 0, 0))


def best(cuts: Sequence[Cut]) -> Cut:
    """Return the fastest cut, and of equally fast ones the one that moves the fewest bytes."""
    return min(cuts, key=lambda cut: (cut.total_s, cut.sent_bytes + cut.received_bytes))


def side_times(rows: Sequence[SplitWork]) -> tuple[SideTimes, SideTimes]:
    """Return the times of edge and cloud per token, fitted to rows that were measured at different cuts.

    Each is a least-squares line of the seconds per step over the number of layers. Raises ValueError for
    fewer than two different cuts with a layer at the edge.
    """
    inner = [row for row in rows if row.edge_layers and row.decode.passes]
    if len({row.edge_layers for row in inner}) < 2:
        raise ValueError("the time of a layer needs two rows that are cut at different layers")
    edge = _line([row.edge_layers for row in inner], [_each(row.decode, "edge_s") for row in inner])
    cloud = _line([row.cloud_layers for row in inner], [_each(row.decode, "cloud_s") for row in inner])
    return edge, cloud


def _line(layers: Sequence[int], seconds: Sequence[float]) -> SideTimes:
    slope, intercept = statistics.linear_regression(layers, seconds)
    return SideTimes(max(intercept, 0.0), max(slope, 0.0))


def _each(phase: SplitPhase, part: str) -> float:
    return float(getattr(phase, part)) / phase.passes


def of_a_sequence(row: SplitWork, ids_bytes: int = 20) -> Moved:
    """Return the bytes that a row moved per step. ``ids_bytes`` is the size of a frame with one token id."""
    step = row.decode
    return Moved(step.sent_bytes // step.passes, ids_bytes, step.received_bytes // step.passes)
