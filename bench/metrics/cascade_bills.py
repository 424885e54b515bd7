"""Compute what the requests of a cascade cost by its two prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.pricing.cascade_cost import Bill, Rates, bill, rates, second_usd
from bench.pricing.cost import Price
from bench.records import ArmRecord, Cascaded, Json, Sides, UnitRecord

NANOSECONDS = 1e9


def rates_of(arm: ArmRecord, price: Price) -> Rates | None:
    """Return the prices of both sides of a cascade; None for a row that is not a cascade."""
    return None if arm.cascade is None else rates(arm.cascade, price)


def bill_of(arm: ArmRecord, price: Price) -> Bill | None:
    """Return the bill of the solo pass; None for a row that is not a cascade."""
    by = rates_of(arm, price)
    return bill(arm.cascaded, by) if by and arm.cascaded else None


def usd_of_requests(arm: ArmRecord, by: Rates) -> list[float]:
    """Return the dollars of each request of the solo pass."""
    return [bill([request], by).usd for request in arm.cascaded]


def as_cloud_ns(units: Sequence[UnitRecord], by: Rates) -> list[float]:
    """Return, for each unit's variant, the nanoseconds of the cloud that cost as much as its requests."""
    return [bill(unit.cascaded, by).usd / by.cloud_usd_per_s * NANOSECONDS for unit in units]


@dataclass(frozen=True)
class Payer:
    """Hold the prices by which one side of a unit is billed.

    ``price`` is that of the machine. ``cascade`` has the terms of a cascade; None for any other row, which is
    billed for its time.
    """

    price: Price
    cascade: Json | None = None

    def usd(self, times_ns: Sequence[Sequence[int]], requests: Sequence[Cascaded]) -> float:
        """Return the dollars of the side's turns."""
        if self.cascade is None:
            return sum(map(sum, times_ns)) / NANOSECONDS * second_usd(self.price)
        return bill(requests, rates(self.cascade, self.price)).usd


def paid(unit: UnitRecord, by: Sides[Payer]) -> Sides[float]:
    """Return the dollars of both sides of a unit."""
    return Sides(
        by.baseline.usd(unit.baseline_ns, unit.baseline_cascaded),
        by.variant.usd(unit.variant_ns, unit.cascaded),
    )
