"""Where to cut a model between an edge and a cloud, for a link: a search over every layer.

The times come from rows that were measured at some cuts, or from anywhere else; nothing is measured here.
Source of the method: Kang et al. 2017 (Neurosurgeon), which chooses the layer in the same way.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.link import LinkSettings
from bench.records import SplitPhase, SplitWork


@dataclass(frozen=True)
class SideTimes:
    """The seconds of one side for one token: ``once`` for what is done at any cut, and ``layer`` for each
    layer."""

    once_s: float
    layer_s: float

    def of(self, layers: int) -> float:
        """Return the seconds with so many layers."""
        return self.once_s + layers * self.layer_s

    def slower(self, times: float) -> SideTimes:
        """Return the times of a device that is so many times slower."""
        return SideTimes(times * self.once_s, times * self.layer_s)


@dataclass(frozen=True)
class Cut:
    """One way to cut: the layers at the edge, and the seconds of a token by where they go.

    All layers at the edge is edge-only, and nothing crosses the link. None is cloud-only: the ids of tokens
    cross it.
    """

    edge_layers: int
    edge_s: float
    cloud_s: float
    link_s: float
    sent_bytes: int
    received_bytes: int

    @property
    def total_s(self) -> float:
        """Return the seconds of a token."""
        return self.edge_s + self.cloud_s + self.link_s


@dataclass(frozen=True)
class Moved:
    """The bytes of a step: up with activations, up with ids, and down."""

    activations: int
    ids: int
    down: int


def every_cut(
    layers: int, edge: SideTimes, cloud: SideTimes, link: LinkSettings, moved: Moved
) -> tuple[Cut, ...]:
    """Return all cuts from cloud-only (0 layers at the edge) to edge-only (all), in this order.

    ``edge`` and ``cloud`` are the times of each side. Edge-only does on the edge what the cloud does once.
    """
    found = []
    for count in range(layers):
        up = moved.activations if count else moved.ids
        link_s = link.one_way_s(up, "up") + link.one_way_s(moved.down, "down")
        edge_s = edge.of(count) if count else 0.0
        found.append(Cut(count, edge_s, cloud.of(layers - count), link_s, up, moved.down))
    slower = edge.layer_s / cloud.layer_s if cloud.layer_s else 1.0
    alone_s = edge.of(layers) + cloud.slower(slower).once_s
    return (*found, Cut(layers, alone_s, 0.0, 0.0, 0, 0))


def best(cuts: Sequence[Cut]) -> Cut:
    """Return the fastest cut; of equally fast ones the one with the fewest bytes."""
    return min(cuts, key=lambda cut: (cut.total_s, cut.sent_bytes + cut.received_bytes))


def side_times(rows: Sequence[SplitWork]) -> tuple[SideTimes, SideTimes]:
    """Return the times of edge and cloud for a token, from rows that were measured at two cuts or more.

    They are least-squares lines through the seconds of a step over the layers. Raises ValueError with fewer
    cuts that have a layer at the edge.
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
    """Return the bytes of a step as a row moved them; ``ids_bytes`` is a frame with one id."""
    step = row.decode
    return Moved(step.sent_bytes // step.passes, ids_bytes, step.received_bytes // step.passes)
