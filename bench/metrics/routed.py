"""What a row that is a cascade was asked to do, and what its requests cost by its two prices."""

from __future__ import annotations

from collections.abc import Sequence

from bench.pricing.cost import Price
from bench.pricing.two_prices import Bill, Rates, bill, rates
from bench.records import ArmRecord, UnitRecord

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
