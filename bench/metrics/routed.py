"""What a row that is a cascade was asked to do, and what its requests cost by its two prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.pricing.cost import Price
from bench.pricing.two_prices import Bill, Rates, bill, rates, second_usd
from bench.records import ArmRecord, Cascaded, Json, Sides, UnitRecord

NANOSECONDS = 1e9


def rates_of(arm: ArmRecord, price: Price) -> Rates | None:
    """Return what a second of each side costs; None for a row that is no cascade."""
    return None if arm.cascade is None else rates(arm.cascade, price)


def bill_of(arm: ArmRecord, price: Price) -> Bill | None:
    """Return what the solo pass cost; None for a row that is no cascade."""
    by = rates_of(arm, price)
    return bill(arm.cascaded, by) if by and arm.cascaded else None


def usd_of_requests(arm: ArmRecord, by: Rates) -> list[float]:
    """Return the dollars of each request of the solo pass."""
    return [bill([one], by).usd for one in arm.cascaded]


def as_cloud_ns(units: Sequence[UnitRecord], by: Rates) -> list[float]:
    """Return the dollars of each unit's variant, as the nanoseconds of the cloud that cost as much."""
    return [bill(unit.cascaded, by).usd / by.cloud_usd_per_s * NANOSECONDS for unit in units]


@dataclass(frozen=True)
class Payer:
    """What one side of a unit is billed by: the price of the machine's hour, and the terms of a cascade; None
    for any other row, which is billed for its time."""

    price: Price
    cascade: Json | None = None

    def usd(self, times_ns: Sequence[Sequence[int]], requests: Sequence[Cascaded]) -> float:
        """Return what the side's turns cost."""
        if self.cascade is None:
            return sum(map(sum, times_ns)) / NANOSECONDS * second_usd(self.price)
        return bill(requests, rates(self.cascade, self.price)).usd


def paid(unit: UnitRecord, by: Sides[Payer]) -> Sides[float]:
    """Return the dollars of both sides of a unit."""
    return Sides(
        by.baseline.usd(unit.baseline_ns, unit.baseline_cascaded),
        by.variant.usd(unit.variant_ns, unit.cascaded),
    )
