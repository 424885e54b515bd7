"""Compute what a cascade costs: the busy seconds of the edge device and of the cloud, and the egress.

Edge seconds are paid whether or not the request goes on to the cloud. Cloud seconds are paid whether or not
the answer arrives. Waiting for the link costs time, but no dollars. If the large model is a server elsewhere,
tokens are paid instead of cloud seconds. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.pricing.cost import Price, Usage, run_cost
from bench.records import Cascaded

FORMULA: Final = "Σ edge_s · R_edge/3600 + Σ cloud_s · R_cloud + Σ received bytes/1e9 · egress"
BYTES_PER_GB: Final = 1e9


@dataclass(frozen=True)
class Rates:
    """The US dollars per second of the edge device and of the cloud, and per byte that leaves the cloud.

    A large model that is a server elsewhere bills tokens instead of seconds: ``tokens_usd`` then has its
    dollars per (input token, output token).
    """

    edge_usd_per_s: float
    cloud_usd_per_s: float
    egress_usd_per_byte: float
    tokens_usd: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bill:
    """The cost of some requests in US dollars, split by who is paid."""

    edge_usd: float
    cloud_usd: float
    egress_usd: float

    @property
    def usd(self) -> float:
        """Return the sum."""
        return self.edge_usd + self.cloud_usd + self.egress_usd


def rates(terms: Mapping[str, Any], cloud: Price) -> Rates:
    """Return the rates of a cascade from the terms stored in its row and the price of the cloud.

    If the cloud's price does not include power, power is billed by the watts that the price declares. The
    measured watts cannot be used, because they are of both models together.
    """
    return Rates(
        edge_usd_per_s=float(terms["edge_usd_per_hour"]) / 3600,
        cloud_usd_per_s=second_usd(cloud),
        egress_usd_per_byte=float(terms["egress_usd_per_gb"]) / BYTES_PER_GB,
        tokens_usd=_of_tokens(terms.get("cloud")),
    )


def _of_tokens(cloud: Mapping[str, Any] | None) -> tuple[float, float] | None:
    if cloud is None:
        return None
    return float(cloud["usd_per_input_token"]), float(cloud["usd_per_output_token"])


def second_usd(price: Price) -> float:
    """Return the US dollars per second of a machine, including its declared power."""
    one_second = Usage(wall_s=1.0, requests_ok=1, input_tokens=1, output_tokens=0)
    return run_cost(price, one_second).run_usd


def bill(requests: Sequence[Cascaded], by: Rates) -> Bill:
    """Return what these requests cost at the rates ``by``."""
    return Bill(
        edge_usd=math.fsum(each.edge_s for each in requests) * by.edge_usd_per_s,
        cloud_usd=_cloud_usd(requests, by),
        egress_usd=sum(each.received_bytes for each in requests) * by.egress_usd_per_byte,
    )


def _cloud_usd(requests: Sequence[Cascaded], by: Rates) -> float:
    """Return the cost of the large model: of its seconds, or of the tokens that its server bills."""
    if by.tokens_usd is None:
        return math.fsum(each.cloud_s for each in requests) * by.cloud_usd_per_s
    in_usd, out_usd = by.tokens_usd
    n_in, n_out = sum(each.billed_in for each in requests), sum(each.billed_out for each in requests)
    return n_in * in_usd + n_out * out_usd
