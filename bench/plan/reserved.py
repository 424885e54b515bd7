"""Check that a price of reserved machines is one of the machines that a plan has, before both are mixed."""

from __future__ import annotations

from collections.abc import Iterable

from bench.errors import UsageError
from bench.plan.devices import device_name
from bench.pricing.hardware import HardwarePrice
from bench.pricing.hourly_price import term_words


def must_be_reserved(price: HardwarePrice) -> None:
    """Raise UsageError for a price of any other term: it is not that of a machine that is paid all month."""
    if price.term != "reserved":
        term = term_words(price.term) or price.ownership
        raise UsageError(f"{price.id} is no reserved price ({term}); `bench prices --term reserved` has them")


def same_machine(price: HardwarePrice, other: HardwarePrice) -> bool:
    """Return whether two prices are of machines that can stand beside each other in a fleet.

    They can if they have the same kind, the same device and the same number of processors. A price without a
    device or without processors, such as one that the user gives, fits any of its kind.
    """

    def alike(one: object, two: object) -> bool:
        return one is None or two is None or one == two

    devices = (each.device and device_name(each.device) for each in (price, other))
    return price.kind == other.kind and alike(*devices) and alike(price.vcpus, other.vcpus)


def must_fit(reserved: HardwarePrice, prices: Iterable[HardwarePrice]) -> None:
    """Raise UsageError if ``reserved`` is of another machine than each of the ``prices`` of a plan."""
    every = list(prices)
    if every and not any(same_machine(reserved, price) for price in every):
        machines = ", ".join(dict.fromkeys(machine_words(price) for price in every))
        raise UsageError(
            f"{reserved.id} is a price of {machine_words(reserved)}, and the plan has {machines}: reserved "
            "machines and those by the hour must be of one kind"
        )


def machine_words(price: HardwarePrice) -> str:
    """Return the machine of a price in a few words, such as ``4 vCPU, x86 (AMD)`` or ``H100 80GB SXM``."""
    if price.kind == "cpu":
        return ", ".join(filter(None, (f"{price.vcpus} vCPU", price.device)))
    return price.device or "a GPU without a name"
