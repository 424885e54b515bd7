"""Explain how the price of an hour is computed, how old it is, and what to watch out for.

The functions are pure: the present day is an argument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.pricing.currency import USD
from bench.pricing.hardware import HOURS_PER_MONTH, HardwarePrice

OLD_DAYS: Final = 180
EXAMPLE_VCPUS: Final = 8


def term_words(term: object, months: object = None) -> str:
    """Return ``on demand``, ``spot`` or ``reserved 12 months``, and an empty string without a term."""
    words = "" if term is None else str(term).replace("_", " ")
    return f"{words} {months} month{'' if months == 1 else 's'}" if months else words


def age_days(date: object, today: str) -> int:
    """Return the age of a price in days on ``today``; it is negative for a price of a later day."""
    return (dt.date.fromisoformat(today) - dt.date.fromisoformat(str(date))).days


def is_old(date: object, today: str) -> bool:
    """Return whether a price of this day should be looked up again."""
    return age_days(date, today) > OLD_DAYS


def cautions(price: Mapping[str, Any], today: str) -> Iterator[str]:
    """Yield a caution if a price block is old on ``today`` or of a later day, is a spot price, or was
    converted to USD."""
    name, age = price["id"], age_days(price["date"], today)
    if age < 0:
        yield f"price {name} is of {price['date']}, a day after {today}: is its date right?"
    if age > OLD_DAYS:
        yield f"price {name} is {age} days old ({price['date']}): look it up again"
    if price.get("term") == "spot":
        yield f"price {name} is a spot price: it moves, and the machine may be taken away"
    if (currency := price.get("currency", USD)) != USD:
        rate, day = price["usd_per_unit"], price["rate_date"]
        yield f"price {name} is converted from {currency}: 1 {currency} = {rate:g} USD on {day}"


def whole_instance(price: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a price block is of one GPU of an instance that is rented whole, and what that costs."""
    gpus, name = price.get("instance_gpus") or 1, price["id"]
    if gpus > 1:
        usd = gpus * price["usd_per_hour"]
        yield (
            f"price {name} is of one of {gpus} GPUs of an instance that is rented whole, for {usd:.2f} USD "
            f"an hour: round machines up to {gpus}"
        )


def hour_formula(price: HardwarePrice) -> tuple[str, str]:
    """Return (the formula of R with the names of its keys, the same formula with numbers)."""
    if price.ownership == "owned":
        names, numbers = _purchase(price)
    elif price.rent is None:
        names, numbers = "usd_per_hour", f"{price.usd_per_hour:g}"
    else:
        names, numbers = _rent(price)
    return f"R = {names}", f"{numbers} = {price.hourly_usd:.6g} USD/h"


def _purchase(price: HardwarePrice) -> tuple[str, str]:
    spread = f"(1 + {price.overhead:g}) / {price.life_hours:g}"
    if price.purchase_price is None:
        return "purchase_usd * (1 + overhead) / life_hours", f"{price.purchase_usd:g} * {spread}"
    names = "purchase_price * usd_per_unit * (1 + overhead) / life_hours"
    return names, f"{price.purchase_price:g} * {price.usd_per_unit or 1:g} * {spread}"


def _rent(price: HardwarePrice) -> tuple[str, str]:
    if price.price_per_month is not None:
        names, numbers = (
            f"price_per_month / {HOURS_PER_MONTH}",
            f"{price.price_per_month:g} / {HOURS_PER_MONTH}",
        )
    else:
        names, numbers = "price_per_hour", f"{price.price_per_hour:g}"
    if price.usd_per_unit is not None:
        names, numbers = f"{names} * usd_per_unit", f"{numbers} * {price.usd_per_unit:g}"
    if price.instance_gpus is not None:
        names, numbers = f"{names} / instance_gpus", f"{numbers} / {price.instance_gpus}"
    return names, numbers


def share_words(price: HardwarePrice) -> str:
    """Explain which part of the hour a run is charged for: a share of the vCPUs, or whole GPUs."""
    if price.kind == "gpu":
        gpus = price.gpus or 1
        return (
            f"G = {gpus}: a run is charged {gpus} times the hour of one GPU" if gpus > 1 else "G = 1: one GPU"
        )
    vcpus = price.vcpus or 1
    used = min(EXAMPLE_VCPUS, max(vcpus // 2, 1))
    return (
        f"G = threads / vcpus, at most 1: a run on {used} of {vcpus} vCPUs is charged {used}/{vcpus} of the "
        f"hour, {price.hourly_usd * used / vcpus:.6g} USD/h"
    )


def power_lines(price: HardwarePrice) -> Iterator[str]:
    """Yield the cost of an hour of electricity, under load and idle, if the price does not include power."""
    if price.includes_power:
        return
    kwh, pue = price.usd_per_kwh or 0.0, price.pue or 1.0
    for key, watts in (("average_watts", price.average_watts), ("idle_watts", price.idle_watts)):
        if watts is not None:
            usd = watts / 1000 * kwh * pue
            numbers = f"{watts:g} / 1000 * {kwh:.6g} * {pue:g} = {usd:.6g} USD/h"
            yield f"{key} / 1000 * usd_per_kwh * pue: {numbers}"
