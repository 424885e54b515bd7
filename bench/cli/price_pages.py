"""Print the price book for ``bench prices``: a table, a page about one price, or a check of every file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cli.tables import align, terminal_width
from bench.data_paths import data_directories
from bench.errors import ConfigError, UsageError, together
from bench.formatting import count, did_you_mean, printable
from bench.pricing import hourly_price
from bench.pricing.book import KIND, default_book, price_called, read_book
from bench.pricing.cost import FORMULA_ENERGY, FORMULA_RUN
from bench.pricing.hardware import HardwarePrice
from bench.pricing.reprice import plain

TITLES = ("id", "device", "USD/h", "each", "term", "region", "day", "age")
UNIT = {"cpu": "vCPU", "gpu": "GPU"}
TERMS = ("on_demand", "spot", "reserved")


@dataclass(frozen=True)
class Wanted:
    """The properties of the prices to list; None accepts any value."""

    kind: str | None = None
    provider: str | None = None
    term: str | None = None
    device: str | None = None

    @property
    def anything(self) -> bool:
        """Return whether any property is given."""
        return any((self.kind, self.provider, self.term, self.device))


def listing(wanted: Wanted, today: str, *, as_json: bool) -> str:
    """Return the matching prices as text, sorted by the price of a vCPU or GPU.

    Raises UsageError if no price matches.
    """
    prices = sorted(_chosen(wanted), key=lambda price: (price.kind, price.unit_usd, price.id))
    if as_json:
        return json.dumps([as_data(price, today) for price in prices], indent=1)
    rows = [tuple(map(printable, _row(price, today))) for price in prices]
    old = sum(hourly_price.is_old(price.date, today) for price in prices)
    notes = [
        f"{count(len(prices), 'price')}; USD/h: of an instance of vCPUs, or of one GPU (of 8: an instance of "
        "so many is rented whole); each: of one vCPU or GPU; age in days; source: bench prices ID"
    ]
    if old:
        notes.append(f"! older than {hourly_price.OLD_DAYS} days ({old}): look it up again before you use it")
    return "\n".join([*align([TITLES, *rows], terminal_width()), "", *notes])


def _row(price: HardwarePrice, today: str) -> tuple[str, ...]:
    age = hourly_price.age_days(price.date, today)
    what = price.device or ("own" if price.ownership == "owned" else "-")
    if (price.instance_gpus or 1) > 1:
        what = f"{what}, of {price.instance_gpus}"
    return (
        price.id,
        f"{price.vcpus} vCPU, {what}" if price.kind == "cpu" else what,
        f"{price.hourly_usd:.4f}",
        f"{price.unit_usd:.4f}/{UNIT[price.kind]}",
        hourly_price.term_words(price.term, price.commitment_months) or price.ownership,
        price.region or "-",
        str(price.date),
        f"{age}{' !' if hourly_price.is_old(price.date, today) else ''}",
    )


def page(price_id: str, today: str, *, as_json: bool) -> str:
    """Return all keys of one price, and how its hour is computed, as text.

    Raises UsageError, which suggests the nearest id, for an unknown one.
    """
    price = price_called(price_id)
    if as_json:
        return json.dumps(as_data(price, today), indent=1)
    keys = {key: value for key, value in plain(price).items() if key not in ("id", "name") and value != ""}
    formula, numbers = hourly_price.hour_formula(price)
    facts = [
        *((key, _value(value)) for key, value in keys.items()),
        ("", ""),
        ("an hour", formula),
        ("", f"  = {numbers}"),
        *([("per vCPU", f"{price.unit_usd:.6g} USD/h")] if price.kind == "cpu" else []),
        ("a share", hourly_price.share_words(price)),
        *(("power", line) for line in hourly_price.power_lines(price)),
        *([] if price.includes_power else [("energy", FORMULA_ENERGY)]),
        ("a run", FORMULA_RUN),
        ("age", f"{hourly_price.age_days(price.date, today)} days on {today}"),
        *(("note", line) for line in hourly_price.cautions(plain(price), today)),
    ]
    lines = align([(key, printable(value)) for key, value in facts], terminal_width())
    return "\n".join([f"{price.id}: {printable(price.name)}", *(f"  {line}".rstrip() for line in lines)])


def as_data(price: HardwarePrice, today: str) -> dict[str, Any]:
    """Return a price as data for JSON: its keys, its hourly price with the formula, its age and cautions."""
    formula, numbers = hourly_price.hour_formula(price)
    return {
        **plain(price),
        "hourly_usd": price.hourly_usd,
        "per": UNIT[price.kind],
        "hourly_usd_each": price.unit_usd,
        "formula": formula,
        "numbers": numbers,
        "age_days": hourly_price.age_days(price.date, today),
        "cautions": list(hourly_price.cautions(plain(price), today)),
    }


def check(today: str) -> str:
    """Validate every price file. Return as text how many prices there are, and which are old.

    Raises ConfigError (exit code 2) with all faults: an invalid key, a price out of range, an id that occurs
    twice, or a date in the future.
    """
    errors: list[ConfigError] = []
    lines = []
    for directory in data_directories(KIND):
        book, bad = read_book(directory)
        errors += bad
        for price in book.values():
            errors += _in_the_future(price, str(directory), today)
        old = sorted(price.id for price in book.values() if hourly_price.is_old(price.date, today))
        words = f"; {len(old)} older than {hourly_price.OLD_DAYS} days: {', '.join(old)}" if old else ""
        lines.append(f"{directory}: {count(len(book), 'price')} read{words}")
    if errors:
        raise together(errors)
    return "\n".join(lines) or f"no {KIND} here"


def _in_the_future(price: HardwarePrice, file: str, today: str) -> Iterator[ConfigError]:
    for key in ("date", "rate_date"):
        if (day := getattr(price, key)) is not None and hourly_price.age_days(day, today) < 0:
            yield ConfigError(f"{file}: {price.id}", f"{day} is after today, {today}", key=key)


def _chosen(wanted: Wanted) -> Sequence[HardwarePrice]:
    """Return the prices with all wanted properties. Raises UsageError if there are none."""
    book = list(default_book().values())
    term = wanted.term and wanted.term.lower().replace("-", "_").replace(" ", "_")
    _must_be_known("kind", wanted.kind, UNIT)
    _must_be_known("term", term, TERMS)
    _must_be_known("provider", wanted.provider, {price.provider for price in book if price.provider})
    chosen = [
        price
        for price in book
        if wanted.kind in (None, price.kind)
        and term in (None, price.term)
        and wanted.provider in (None, price.provider)
        and (wanted.device is None or _matches_device(price, wanted.device))
    ]
    if not chosen:
        devices = sorted({price.device for price in book if price.device})
        raise UsageError(f"no price is like that; devices: {', '.join(devices)}")
    return chosen


def _must_be_known(what: str, given: str | None, known: Sequence[str] | dict[str, str] | set[str]) -> None:
    if given is not None and given not in known:
        hint = did_you_mean(given, known, f"known: {', '.join(sorted(known))}")
        raise UsageError(f"no {what} called {given[:60]!r} ({hint})")


def _matches_device(price: HardwarePrice, device: str) -> bool:
    """Return whether all words of ``device`` (``h100``, ``H100-80GB``) occur in the names of the price."""
    names = " ".join((price.id, price.name, price.device or "", price.instance or ""))
    return _words(device) <= _words(names)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)
