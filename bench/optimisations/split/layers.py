"""Keep the first layers at the edge, and send their activations to a second process with the other layers.

Source: Kang et al. 2017 (Neurosurgeon). Tokens come back. It pays where the edge is slow, its memory is small
or its inputs must not leave it; in every step it costs a round trip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check
from bench.engine.split_socket import Codec
from bench.engine.splitting import Prices
from bench.errors import Unsupported
from bench.link import NO_DELAY, LinkSettings
from bench.optimisations.shared import classes, decoder, halves

REQUIRES = ("torch", "transformers")
DECODING = True
NOTE = "each token waits for the link; both processes run on this machine, and the link is simulated"


@dataclass(frozen=True)
class Params:
    """``edge_layers`` is how many of the first layers the edge has, half of them if it is absent; with 0 it
    sends token ids. ``activations`` cross the link as they are, or rounded with a scale for each position.
    ``edge_usd_per_hour``, ``cloud_usd_per_hour`` and ``egress_usd_per_gb`` (bytes from the cloud) price the
    two sides; without them there is no dollar figure of the split."""

    edge_layers: int | None = None
    link: LinkSettings = NO_DELAY
    activations: Codec = "as-they-are"
    edge_usd_per_hour: float | None = None
    cloud_usd_per_hour: float | None = None
    egress_usd_per_gb: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "link", LinkSettings.of(self.link))
        if self.edge_layers is not None and self.edge_layers < 0:
            raise ValueError("edge_layers must be 0 or more")
        if self.edge_layers == 0 and self.activations != "as-they-are":
            raise ValueError("activations must be as-they-are with edge_layers 0: token ids are sent then")
        halves.check_prices(self)


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    if params.edge_layers == 0:
        return classes.why_no_blocks(config)
    return classes.why_no_first_layers(config, params.edge_layers)


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the settings do not fit a model of this shape, with the nearest that do, or None."""
    layers = architecture["layers"]
    if params.edge_layers is not None and params.edge_layers >= layers:
        return f"edge_layers {params.edge_layers}: the model has {layers}; the nearest is {layers - 1}"
    return None


def apply(model: Any, params: Params) -> Changed:
    """Start the second process with the later layers, and keep the first ones here.

    Raises Unsupported if the settings do not fit the model, or if both halves do not compute what it does.
    """
    layers = len(decoder.blocks(model))
    if reason := refuse(params, {"layers": layers}):
        raise Unsupported(reason)
    count = layers // 2 if params.edge_layers is None else params.edge_layers
    prices = Prices(params.edge_usd_per_hour, params.cloud_usd_per_hour, params.egress_usd_per_gb)
    with decoder.fewer_layers(model):
        edge = halves.edge_of(model, count)
    rest = halves.open_rest(model, count, params.activations, params.link, prices)
    if params.activations == "as-they-are":
        halves.must_compute_the_same(model, edge, rest)
    return Changed(edge, rest=rest)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the two processes, the layers of each, and the bytes that crossed the link."""
    work, checks = halves.two_processes(after)
    if work is None:
        return checks
    layers = work.edge_layers + work.cloud_layers
    wanted = layers // 2 if params.edge_layers is None else params.edge_layers
    split = f"{work.edge_layers} and {work.cloud_layers}"
    head = next(one for one in before.matrices if one.is_head)
    size = head.shape[1] if work.edge_layers else 0
    codec = params.activations
    return [
        *checks,
        check("layers of both", split, work.edge_layers == wanted, f"{wanted} and {layers - wanted}"),
        *halves.bytes_match(work, size, halves.item_bytes(before), codec),
    ]
