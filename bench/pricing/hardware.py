"""Read and check the price of an hour of one device.

A device is a whole CPU instance, or one GPU together with its share of the host. All dollars, watts and hours
of a price are for that one device. pydantic is imported on first use.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le, MinLen

from bench.errors import ConfigError, IntegrityError, UsageError
from bench.formatting import did_you_mean, one_line
from bench.pricing.currency import (
    AMOUNTS,
    MAX_USD_PER_HOUR,
    MAX_USD_PER_KWH,
    MAX_USD_PER_UNIT,
    RENTS,
    check_currency,
    in_dollars,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

HOURS_PER_MONTH: Final = 730  # 8760 / 12, the month of the cloud providers' calculators
MAX_WATTS: Final = 1_000_000  # of a device; a rack of 72 GPUs has 130,000
OWNED_USD: Final = (1e-6, MAX_USD_PER_HOUR)  # plausible dollars of an hour of an own device

Text = Annotated[str, MinLen(1)]
Positive = Annotated[float, Gt(0)]
Devices = Annotated[int, Gt(0)]
Term = Literal["on_demand", "spot", "reserved"]

_OF_RENT: Final = ("usd_per_hour", *RENTS, "instance_gpus", "term", "commitment_months")
_OF_OWNED: Final = ("purchase_usd", "purchase_price", "overhead", "life_hours")
_OF_POWER: Final = ("usd_per_kwh", "price_per_kwh", "pue", "average_watts", "idle_watts")
_OPTIONAL: Final = (
    *RENTS,
    "instance_gpus",
    "term",
    "commitment_months",
    "purchase_price",
    "price_per_kwh",
    "idle_watts",
    "share",
)
_TWICE: Final = "the price already holds power: billing it again would count it twice"
_HINTS: Final = {
    ("usd_per_hour", "less_than_equal"): "dollars per device-hour; is this per month, or per 1k tokens?",
    ("usd_per_unit", "less_than_equal"): "dollars of one unit of the currency; is it the other way round?",
}


@dataclass(frozen=True)
class HardwarePrice:
    """The price of one hour of one device, its date and its source.

    ``date`` is the day on which the price was valid. ``usd_per_hour`` (rented) and ``purchase_usd`` (owned)
    are for one GPU, or for a CPU instance of ``vcpus``. ``gpus`` is how many GPUs a run occupies, and
    ``share`` the part of a GPU that it had, if that was a slice (MIG). A rented price may instead be
    ``price_per_hour`` or ``price_per_month`` (of 730 hours) of a whole ``instance`` with ``instance_gpus``
    GPUs, in ``currency``; ``usd_per_hour`` is then computed. ``usd_per_unit`` is how many US dollars one unit
    of the currency was worth on ``rate_date``. ``memory_gib`` is the RAM of a CPU instance, or the memory of
    one GPU. ``overhead`` is the fraction that is added to the purchase for rack, network and so on,
    ``life_hours`` the hours over which the purchase is spread, and ``pue`` the watts at the meter divided by
    the watts at the device. ``average_watts`` (under load) and ``idle_watts`` are declared by the owner, not
    measured.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    id: Text
    name: Text
    kind: Literal["cpu", "gpu"]
    ownership: Literal["rented", "owned"]
    date: dt.date
    source: Text
    currency: Text
    includes_power: bool
    note: str = ""
    provider: Text | None = None
    region: Text | None = None
    instance: Text | None = None
    device: Text | None = None
    term: Term | None = None
    commitment_months: Annotated[int, Gt(0), Le(120)] | None = None
    vcpus: Devices | None = None
    gpus: Devices | None = None
    share: Annotated[float, Gt(0), Le(1)] | None = None
    instance_gpus: Devices | None = None
    memory_gib: Positive | None = None
    usd_per_hour: Annotated[float, Gt(0), Le(MAX_USD_PER_HOUR)] | None = None
    price_per_hour: Positive | None = None
    price_per_month: Positive | None = None
    usd_per_unit: Annotated[float, Gt(0), Le(MAX_USD_PER_UNIT)] | None = None
    rate_date: dt.date | None = None
    rate_source: Text | None = None
    purchase_usd: Positive | None = None
    purchase_price: Positive | None = None
    overhead: Annotated[float, Ge(0), Le(100)] | None = None
    life_hours: Annotated[float, Ge(1), Le(1_000_000)] | None = None
    usd_per_kwh: Annotated[float, Gt(0), Le(MAX_USD_PER_KWH)] | None = None
    price_per_kwh: Positive | None = None
    pue: Annotated[float, Ge(1), Le(5)] | None = None
    average_watts: Annotated[float, Gt(0), Le(MAX_WATTS)] | None = None
    idle_watts: Annotated[float, Ge(0), Le(MAX_WATTS)] | None = None

    @property
    def hourly_usd(self) -> float:
        """Return R, US dollars per device-hour: the rent, or the purchase spread over the device's life.

        Power that is billed separately is not in it. Raises UsageError if there is neither a rent nor a
        complete purchase.
        """
        if self.usd_per_hour is not None:
            return self.usd_per_hour
        if self.purchase_usd is None or self.overhead is None or self.life_hours is None:
            raise UsageError(f"price {self.id!r} has neither a rent nor a complete purchase")
        return self.purchase_usd * (1 + self.overhead) / self.life_hours

    @property
    def rent(self) -> float | None:
        """Return the hourly rent of the whole instance in the price's currency, or None if none is given."""
        if self.price_per_month is not None:
            return self.price_per_month / HOURS_PER_MONTH
        return self.price_per_hour

    @property
    def unit_usd(self) -> float:
        """Return R per vCPU for a CPU instance, and R itself for a GPU price, which is for one GPU."""
        return self.hourly_usd / (self.vcpus or 1) if self.kind == "cpu" else self.hourly_usd


def parse_price(mapping: Mapping[str, object], file: str) -> HardwarePrice:
    """Read a price from ``mapping``, which comes from a YAML file or from ``run.json``.

    ``file`` is the name in error messages. Raises ConfigError, which names the first key that is unknown,
    missing or out of range, or that would bill power twice.
    """
    from pydantic import ValidationError

    given = {str(key): value for key, value in mapping.items() if value is not None}
    given |= {key: _real_date(given[key], key, file) for key in ("date", "rate_date") if key in given}
    try:
        # Strict validation of Python objects refuses a mapping for a dataclass; strict validation of JSON
        # accepts it.
        price = _adapter().validate_json(json.dumps(given, default=str))
    except ValidationError as error:
        raise _config_error(error.errors(include_url=False)[0], file) from None
    _check_keys(price, file)
    check_currency(price, file)
    priced = in_dollars(price, file)
    _check_hour(priced, file)
    return priced


def recorded_price(mapping: Mapping[str, object], run_id: str) -> HardwarePrice:
    """Read the price in a run's price block, which also holds the run's utilisation.

    Raises IntegrityError for an invalid price: a price is checked before a run is written, so somebody
    changed it afterwards.
    """
    block = json.dumps({key: mapping[key] for key in mapping if key != "utilisation"}, default=str)
    try:
        return _recorded(block)
    except ConfigError as bad:
        bad.file = f"run {run_id}"
        raise IntegrityError(f"{bad}: the price was changed after the run") from None


@functools.lru_cache(maxsize=256)  # every figure of every row needs it, and many runs have the same
def _recorded(block: str) -> HardwarePrice:
    return parse_price(json.loads(block), "")


@functools.cache
def _adapter() -> TypeAdapter[HardwarePrice]:
    from pydantic import TypeAdapter

    return TypeAdapter(HardwarePrice)


def _real_date(value: object, key: str, file: str) -> dt.date:
    """Parse a date written YYYY-MM-DD. Raises ConfigError if the calendar has no such day."""
    try:
        return dt.datetime.strptime(str(value), "%Y-%m-%d").date()
    except ValueError as error:
        raise ConfigError(file, f"not a day: {error}", key=key, hint="write YYYY-MM-DD") from None


def _config_error(detail: ErrorDetails, file: str) -> ConfigError:
    """Turn one of pydantic's errors into a ConfigError, with a hint where there is one."""
    key = one_line(str(detail["loc"][0])) if detail["loc"] else ""
    kind = detail["type"]
    if kind == "unexpected_keyword_argument":
        hint = did_you_mean(key, (name for name in HardwarePrice.__dataclass_fields__ if name != key))
        return ConfigError(file, "unknown key", key=key, hint=hint)
    problem = "missing" if kind == "missing" else f"{detail['msg']}, got {detail['input']!r:.60}"
    return ConfigError(file, problem, key=key, hint=_HINTS.get((key, kind), ""))


def _check_hour(price: HardwarePrice, file: str) -> None:
    """Raise ConfigError for a purchase whose hour no device costs: a key of it is in another unit."""
    low, high = OWNED_USD
    if price.ownership == "owned" and not low <= price.hourly_usd <= high:
        key = "purchase_usd" if price.purchase_price is None else "purchase_price"
        problem = f"comes to {price.hourly_usd:.3g} USD an hour, outside {low:g} to {high:g}"
        raise ConfigError(file, problem, key=key, hint="is life_hours in hours, and overhead a share?")


def _check_keys(price: HardwarePrice, file: str) -> None:
    """Raise ConfigError if a key is missing, or does not fit the kind, ownership and power billing."""
    allowed = (
        *(("vcpus",) if price.kind == "cpu" else ("gpus", "share")),
        *(_OF_RENT if price.ownership == "rented" else _OF_OWNED),
        *(() if price.includes_power else _OF_POWER),
    )
    what = f"{price.ownership} {price.kind}, includes_power: {str(price.includes_power).lower()}"
    for key in ("vcpus", "gpus", "share", *_OF_RENT, *_OF_OWNED, *_OF_POWER):
        given = getattr(price, key) is not None
        if given and key not in allowed:
            hint = _TWICE if key in _OF_POWER else ""
            raise ConfigError(file, f"has no place here ({what})", key=key, hint=hint)
        elsewhere = any(getattr(price, other) is not None for other in AMOUNTS.get(key, ()))
        if key in allowed and key not in _OPTIONAL and not given and not elsewhere:
            raise ConfigError(file, f"missing ({what})", key=key)
    if price.price_per_hour is not None and price.price_per_month is not None:
        raise ConfigError(file, "a price is per hour or per month, not both", key="price_per_month")
    if price.instance_gpus is not None and (price.kind == "cpu" or price.rent is None):
        hint = "it divides price_per_hour or price_per_month of an instance with several GPUs"
        raise ConfigError(file, f"has no place here ({what})", key="instance_gpus", hint=hint)
    if (price.term == "reserved") != (price.commitment_months is not None):
        problem = (
            "missing: for how long is it reserved?"
            if price.term == "reserved"
            else "only a reserved price has it"
        )
        raise ConfigError(file, problem, key="commitment_months", hint="12 for one year, 36 for three")
    if price.idle_watts is not None and price.idle_watts > (price.average_watts or 0):
        raise ConfigError(file, "more than average_watts, which is under load", key="idle_watts")
