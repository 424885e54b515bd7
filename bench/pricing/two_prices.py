"""What a cascade costs: the edge device for the seconds in which it answers, the cloud for its own, egress.

Pure functions. An edge second is paid whether the request goes on or not, and a second in which the cloud
works is paid whether its answer arrives or not. Waiting for the link costs time, and no dollars.
A large model that is a server elsewhere is paid for tokens in the place of seconds.
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
    """Dollars per second of the edge device and of the cloud, and per byte that leaves the cloud.

    A large model that is a server elsewhere bills tokens in and out, and no seconds; then ``tokens_usd`` has
    the dollars of each.
    """

    edge_usd_per_s: float
    cloud_usd_per_s: float
    egress_usd_per_byte: float
    tokens_usd: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bill:
    """What some requests cost, in USD, by who is paid."""

    edge_usd: float
    cloud_usd: float
    egress_usd: float

    @property
    def usd(self) -> float:
        """Return the sum."""
        return self.edge_usd + self.cloud_usd + self.egress_usd


def rates(terms: Mapping[str, Any], cloud: Price) -> Rates:
    """Return the rates of a cascade from the terms that its row keeps, and the price of the cloud's hour.

    Power that the cloud's price leaves out is billed by the watts that the price declares: what was measured
    is of both models.
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
    """Return what a second of a machine costs, its declared power included."""
    one_second = Usage(wall_s=1.0, requests_ok=1, input_tokens=1, output_tokens=0)
    return run_cost(price, one_second).run_usd


def bill(requests: Sequence[Cascaded], by: Rates) -> Bill:
    """Return what these requests cost."""
    return Bill(
        edge_usd=math.fsum(one.edge_s for one in requests) * by.edge_usd_per_s,
        cloud_usd=_cloud_usd(requests, by),
        egress_usd=sum(one.received_bytes for one in requests) * by.egress_usd_per_byte,
    )


def _cloud_usd(requests: Sequence[Cascaded], by: Rates) -> float:
    """Return what the large model is paid: for its seconds, or for the tokens that a server bills."""
    if by.tokens_usd is None:
        return math.fsum(one.cloud_s for one in requests) * by.cloud_usd_per_s
    in_usd, out_usd = by.tokens_usd
    return sum(one.billed_in for one in requests) * in_usd + sum(one.billed_out for one in requests) * out_usd
