"""Make the price block that is stored with a run, or a new block to judge the same run at another price.

Nothing here reads the clock: the date is an argument.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from bench.errors import UsageError
from bench.pricing.book import VCPU_USD, price_called
from bench.pricing.currency import MAX_USD_PER_HOUR
from bench.pricing.hardware import HardwarePrice
from bench.records.json_form import Json

GIVEN = "given"
LEAST_UTILISATION = 1e-4
MOST_VCPUS = 4096


def price_block(
    hardware: str | None, usd_per_hour: float | None, utilisation: float, today: str, vcpus: int | None = None
) -> Json:
    """Return the price block to store with a run, from the price book or from ``usd_per_hour``.

    ``usd_per_hour`` is dated ``today``. It is for a machine with ``vcpus``, of which a run is charged its
    share; without ``vcpus`` a run is charged the whole machine. Raises UsageError unless exactly one of
    ``hardware`` and ``usd_per_hour`` is given, for an unknown id, and for numbers out of range.
    """
    if (hardware is None) == (usd_per_hour is None):
        raise UsageError("give either a hardware id of configs/prices or dollars per hour")
    if hardware is not None and vcpus is not None:
        raise UsageError(f"vcpus goes with dollars per hour: the price {hardware} has its own")
    share = _checked_share(utilisation)
    if hardware is not None:
        block = plain(price_called(hardware))
    else:
        block = own_price(usd_per_hour or 0.0, today, vcpus)
    return {**block, "utilisation": share}


def plain(price: HardwarePrice) -> Json:
    """Return a price as plain data for JSON: dates become text, and keys without a value are left out."""
    kept = {key: value for key, value in asdict(price).items() if value is not None}
    return {key: str(value) if isinstance(value, dt.date) else value for key, value in kept.items()}


def _checked_share(utilisation: float) -> float:
    if not LEAST_UTILISATION <= utilisation <= 1:
        raise UsageError(
            f"utilisation must be above 0 and at most 1, and not less than {LEAST_UTILISATION:g}, got "
            f"{utilisation:g}"
        )
    return utilisation


def own_price(usd_per_hour: float, today: str, vcpus: int | None = None) -> Json:
    """Return the block of a price that the user gives, dated ``today`` (YYYY-MM-DD).

    Without ``vcpus`` a run is charged the whole machine, as for a GPU.
    """
    check_rent(usd_per_hour, vcpus)
    of = "the whole machine" if vcpus is None else f"{vcpus} vCPU, by the share in use"
    return {
        "id": GIVEN,
        "name": f"given by the user for {of}",
        **({"kind": "gpu", "gpus": 1} if vcpus is None else {"kind": "cpu", "vcpus": vcpus}),
        "ownership": "rented",
        "date": today,
        "source": "usd_per_hour in the config or on the command line",
        "currency": "USD",
        "includes_power": True,
        "usd_per_hour": usd_per_hour,
    }


def check_rent(usd_per_hour: float, vcpus: int | None) -> None:
    """Raise UsageError if the dollars are not plausible for an hour of a machine with ``vcpus``.

    Without ``vcpus`` the number of processors is unknown, so only the limits for a whole machine apply.
    """
    if not math.isfinite(usd_per_hour) or not 0 < usd_per_hour <= MAX_USD_PER_HOUR:
        raise UsageError(
            f"dollars per hour must be above 0 and at most {MAX_USD_PER_HOUR}, got {usd_per_hour:g}; "
            "is it per month, or per 1k tokens?"
        )
    if vcpus is not None and not 1 <= vcpus <= MOST_VCPUS:
        raise UsageError(f"vcpus must be from 1 to {MOST_VCPUS}, got {vcpus}")
    low, high = VCPU_USD
    if vcpus is None and usd_per_hour < low:
        raise UsageError(
            f"{usd_per_hour:g} USD an hour is below {low:g}; is it per second, or per 1k tokens?"
        )
    if vcpus is not None and not low <= usd_per_hour / vcpus <= high:
        raise UsageError(
            f"{usd_per_hour:g} USD an hour for {vcpus} vCPU is {usd_per_hour / vcpus:.3g} per vCPU, outside "
            f"{low:g} to {high:g}; is it per month, per second, or per 1k tokens?"
        )


def new_price(
    old_block: Mapping[str, Any],
    hardware: str | None,
    usd_per_hour: float | None,
    utilisation: float | None,
    today: str | None = None,
    vcpus: int | None = None,
) -> Json:
    """Return the price block with which a run is judged again. What is not given stays as it was.

    With neither ``hardware`` nor ``usd_per_hour`` only the utilisation changes. ``today`` dates the dollars
    that the user gives; without it they keep the old block's date. Raises UsageError if nothing would change,
    if both prices are given, and for numbers out of range.
    """
    share = _checked_share(float(old_block.get("utilisation", 1.0)) if utilisation is None else utilisation)
    if hardware is not None or usd_per_hour is not None:
        block = price_block(hardware, usd_per_hour, share, today or str(old_block["date"]), vcpus)
        return {**block, **slice_of(block, old_block.get("share"))}
    if vcpus is not None:
        raise UsageError("--vcpus says what --usd-per-hour is for: give both")
    if utilisation is None:
        raise UsageError("nothing to change: give --hardware, --usd-per-hour or --utilisation")
    return {**old_block, "utilisation": share}


def slice_of(block: Mapping[str, Any], share: float | None) -> dict[str, float]:
    """Return ``{"share": share}`` if a run had only a part of a GPU, to be merged into its price block.

    The result is empty for a whole GPU, for a CPU, and for a price that the user gave, who decided already
    what it is for.
    """
    priced = block["kind"] == "gpu" and block["id"] != GIVEN
    return {"share": share} if priced and share is not None and share < 1 else {}


def misfit(price: Mapping[str, Any], devices: Iterable[str]) -> str | None:
    """Return a warning if ``price`` is for another kind of hardware than a row was measured on, else None.

    ``devices`` have the engines' names (cpu, cuda:0). A user's price for a whole machine fits any device.
    """
    if price["id"] == GIVEN and price["kind"] == "gpu":
        return None
    words = {"cpu": "a CPU", "gpu": "a GPU"}
    priced = words[price["kind"]]
    others = {"gpu" if device.startswith("cuda") else "cpu" for device in devices} - {price["kind"]}
    if not others:
        return None
    return (
        f"priced as {priced} ({price['name']}), measured on {words[others.pop()]}: {priced} would take other "
        "seconds; name a price of the hardware that was measured"
    )
