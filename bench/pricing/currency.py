"""Convert prices in other currencies to US dollars. Each needs a dated exchange rate with its source."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bench.errors import ConfigError
from bench.formatting import nearest

if TYPE_CHECKING:
    from bench.pricing.hardware import HardwarePrice

USD: Final = "USD"
MAX_USD_PER_HOUR: Final = 1000
MAX_USD_PER_UNIT: Final = 5  # no currency is worth more dollars, so a larger rate is an inverted one
MAX_USD_PER_KWH: Final = 10  # ten times the dearest tariff
RENTS: Final = ("price_per_hour", "price_per_month")
# Each key in dollars, with the keys in the price's own currency from which it can be computed.
AMOUNTS: Final = {
    "usd_per_hour": RENTS,
    "purchase_usd": ("purchase_price",),
    "usd_per_kwh": ("price_per_kwh",),
}
# The codes of ISO 4217 for money that is in use; not those of metals, funds, tests (XTS) and no money (XXX).
_IN_USE: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD "
    "LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK "
    "PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS "
    "TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER "
    "ZAR ZMW ZWG"
)
CODES: Final = frozenset(_IN_USE.split())
_RATE: Final = ("usd_per_unit", "rate_date", "rate_source")


def check_currency(price: HardwarePrice, file: str) -> None:
    """Raise ConfigError for a currency other than USD without an exchange rate, or with amounts in USD."""
    if not re.fullmatch("[A-Z]{3}", price.currency):
        hint = "three capital letters, such as USD, EUR or CNY"
        raise ConfigError(file, f"not a currency: {price.currency!r:.60}", key="currency", hint=hint)
    if price.currency not in CODES:
        near = nearest(price.currency, CODES)
        hint = f"meant is {near}?" if near else "a code of ISO 4217 for money, such as USD, EUR or CNY"
        raise ConfigError(file, f"no known currency: {price.currency}", key="currency", hint=hint)
    foreign = price.currency != USD
    for key in _RATE:
        given = getattr(price, key) is not None
        if given and not foreign:
            raise ConfigError(file, "has no place in a price in USD", key=key)
        if foreign and not given:
            hint = "the dollars of one unit, their day and source: usd_per_unit, rate_date, rate_source"
            raise ConfigError(file, f"missing: a price in {price.currency} is converted", key=key, hint=hint)
    for dollars, others in AMOUNTS.items():
        if (
            foreign
            and getattr(price, dollars) is not None
            and all(getattr(price, other) is None for other in others)
        ):
            hint = f"give {' or '.join(others)} in {price.currency}, or convert to USD and say in source how"
            raise ConfigError(file, f"is USD, the currency is {price.currency}", key=dollars, hint=hint)


def in_dollars(price: HardwarePrice, file: str) -> HardwarePrice:
    """Return ``price`` with its dollars computed from its own currency.

    Raises ConfigError if dollars that the price already has, as in run.json, differ from the computed ones.
    """
    rate = price.usd_per_unit or 1.0
    computed: dict[str, Any] = {"usd_per_hour": price.rent and price.rent * rate / (price.instance_gpus or 1)}
    computed["purchase_usd"] = price.purchase_price and price.purchase_price * rate
    computed["usd_per_kwh"] = price.price_per_kwh and price.price_per_kwh * rate
    for key, usd in computed.items():
        given = getattr(price, key)
        if usd is not None and given is not None and not math.isclose(usd, given, rel_tol=1e-9):
            raise ConfigError(
                file, f"{given:g}, but the other keys come to {usd:g}", key=key, hint="leave it out"
            )
    if (rent := computed["usd_per_hour"]) is not None and rent > MAX_USD_PER_HOUR:
        hint = "is it per month, per year, or for more GPUs than instance_gpus says?"
        key = "price_per_hour" if price.price_per_hour is not None else "price_per_month"
        raise ConfigError(file, f"comes to {rent:,.2f} USD per device-hour", key=key, hint=hint)
    if (kwh := computed["usd_per_kwh"]) is not None and kwh > MAX_USD_PER_KWH:
        raise ConfigError(
            file, f"comes to {kwh:,.2f} USD per kWh", key="price_per_kwh", hint="is it per MWh?"
        )
    return replace(price, **{key: usd for key, usd in computed.items() if usd is not None})
