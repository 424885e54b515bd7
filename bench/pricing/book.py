"""Read the price book: the YAML files in ``configs/prices``, each with one price or a list of prices.

A file with a list is for one provider: its keys outside ``prices`` apply to every entry of the list. An id
may occur only once in a directory; the first directory that has it wins. PyYAML is imported on first use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.bounded import read_bounded, why
from bench.data_paths import data_directories
from bench.errors import ConfigError, UsageError, together
from bench.formatting import did_you_mean
from bench.pricing.currency import RENTS
from bench.pricing.hardware import HardwarePrice, parse_price
from bench.pricing.hourly_price import term_words

if TYPE_CHECKING:
    from bench.yaml_source import KeyPath, YamlSource

KIND: Final = "configs/prices"
LIST: Final = "prices"
PRICE_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
LONGEST_TEXT: Final = 1000  # letters of a name or a source
VCPU_USD: Final = (0.001, 1.0)  # plausible rents of a vCPU, in US dollars per hour: lowest, highest
GPU_USD: Final = (0.05, 40.0)  # the same for a GPU

Book = dict[str, HardwarePrice]


def default_book() -> Book:
    """Return every price in ``configs/prices`` of the working directory, the repository and the package.

    Raises one ConfigError that lists all faulty prices.
    """
    book, errors = whole_book()
    if errors:
        raise together(errors)
    return book


def whole_book() -> tuple[Book, list[ConfigError]]:
    """Return (every valid price of these directories by id, the errors of the others)."""
    book: Book = {}
    wrong: list[ConfigError] = []
    for directory in data_directories(KIND):
        found, errors = read_book(directory)
        book = {**found, **book}
        wrong += errors
    return book, wrong


def load_book(directory: Path) -> Book:
    """Return every price in ``directory`` by id. Raises one ConfigError that lists all faulty prices."""
    book, errors = read_book(directory)
    if not any(directory.glob("*.yaml")):
        errors.append(ConfigError(str(directory), "no price files (*.yaml) here"))
    if errors:
        raise together(errors)
    return book


def read_book(directory: Path, having: str = "") -> tuple[Book, list[ConfigError]]:
    """Read ``directory`` and return (the valid prices by id, the errors of the others).

    A directory without price files has neither, so it does not hide the prices of the package.

    With ``having``, read only the files that contain this id.
    """
    book: Book = {}
    errors: list[ConfigError] = []
    homes: dict[str, str] = {}
    paths = sorted(directory.glob("*.yaml"))
    for path in paths:
        for price in _read(path, having):
            if isinstance(price, ConfigError):
                errors.append(price)
            elif price.id in homes:
                problem = f"{price.id!r} stands in {homes[price.id]} too"
                errors.append(ConfigError(str(path), problem, key="id"))
            else:
                book[price.id], homes[price.id] = price, path.name
    return book, errors


def find_price(book: Mapping[str, HardwarePrice], price_id: str) -> HardwarePrice:
    """Return the price called ``price_id``. Raises UsageError, which suggests the nearest known id."""
    if price_id in book:
        return book[price_id]
    hint = did_you_mean(price_id, book, f"known: {', '.join(sorted(book))}")
    raise UsageError(f"no price called {price_id!r} ({hint})")


def price_called(price_id: str) -> HardwarePrice:
    """Return one price of `default_book`. To be fast, it reads only the files that contain the id.

    A broken file matters only if it holds the id. Raises UsageError, which suggests the nearest known id and
    names the files that cannot be read.
    """
    for directory in data_directories(KIND) if PRICE_ID.fullmatch(price_id) else ():
        book, errors = read_book(directory, having=price_id)
        if errors:
            raise together(errors)
        if price_id in book:
            return book[price_id]
    book, errors = whole_book()
    try:
        return find_price(book, price_id)
    except UsageError as bad:
        broken = f"; a file of prices is broken: {together(errors)}" if errors else ""
        raise UsageError(f"{bad}{broken}") from None


def check_range(price: HardwarePrice, file: str) -> None:
    """Raise ConfigError for an implausible rent of a vCPU or GPU, which is probably in another unit."""
    if price.ownership == "owned":
        return
    low, high = VCPU_USD if price.kind == "cpu" else GPU_USD
    if low <= price.unit_usd <= high:
        return
    per = "vCPU" if price.kind == "cpu" else "GPU"
    hint = _likely_cause(price.unit_usd, low)
    problem = f"{price.unit_usd:.3g} USD an hour per {per}, outside {low:g} to {high:g}"
    raise ConfigError(file, problem, key=_given(price), hint=hint)


def _given(price: HardwarePrice) -> str:
    """Return the name of the key in which the rent was given."""
    return next((key for key in RENTS if getattr(price, key) is not None), "usd_per_hour")


def _likely_cause(usd: float, low: float) -> str:
    if usd < low:
        return "is it per second, per 1k or 1M tokens, or are vcpus or instance_gpus too many?"
    return "is it per month (price_per_month), per year, or for more vCPUs or GPUs than the file says?"


def _read(path: Path, having: str) -> Iterator[HardwarePrice | ConfigError]:
    """Yield each price of one file, or the error of each price that is not valid."""
    from bench.yaml_source import MAX_BYTES, parse_yaml

    try:
        content = read_bounded(path, MAX_BYTES)
        if having and not re.search(rf"(?<![a-z0-9.-]){re.escape(having)}(?![a-z0-9-])".encode(), content):
            return
        source = parse_yaml(content, str(path))
        assert isinstance(source.data, dict)  # parse_yaml refuses anything else
    except OSError as bad:
        yield ConfigError(str(path), f"not readable: {why(bad)}")
        return
    except ConfigError as bad:
        yield bad
        return
    if LIST not in source.data:
        entries: list[tuple[KeyPath, object]] = [((), source.data)]
    elif isinstance(listed := source.data[LIST], list):
        entries = [((LIST, index), entry) for index, entry in enumerate(listed)]
    else:
        yield source.error((LIST,), "not a list of prices")
        return
    for place, entry in entries:
        try:
            yield _price(source, place, entry, path)
        except ConfigError as bad:
            yield bad


def _price(source: YamlSource, place: KeyPath, entry: object, path: Path) -> HardwarePrice:
    """Read one price of a file. An entry of a list also gets the keys outside the list."""
    shared = source.data if place else {}
    if not isinstance(entry, dict) or not isinstance(shared, dict):
        raise source.error(place, "not a mapping of keys to values")
    whole = {**{key: value for key, value in shared.items() if key != LIST}, **entry}
    whole = {key: value.strip() if isinstance(value, str) else value for key, value in whole.items()}
    if place and not whole.get("name"):
        whole["name"] = _name(whole)
    try:
        _must_be_lines(whole, source.file)
        price = parse_price(whole, source.file)
        check_range(price, source.file)
    except ConfigError as bad:
        at = (bad.key,) if bad.key not in entry and bad.key in shared else (*place, bad.key)
        raise source.error(at if bad.key else place, bad.problem, bad.hint) from None
    if place and not PRICE_ID.fullmatch(price.id):
        raise source.error((*place, "id"), f"not an id: {price.id!r:.60}", "a-z, 0-9, dots and hyphens")
    if not place and price.id != path.stem:
        raise source.error(("id",), f"is {price.id!r}, the file {path.stem!r}")
    return price


def _must_be_lines(entry: Mapping[str, object], file: str) -> None:
    """Raise ConfigError for a text that no table and no result can show: each is one line."""
    for key, value in entry.items():
        if isinstance(value, str) and (len(value) > LONGEST_TEXT or not value.isprintable()):
            raise ConfigError(file, f"must be one line of at most {LONGEST_TEXT} letters", key=key)


def _name(entry: Mapping[str, object]) -> str:
    """Make a name for an entry that has none: the provider, the machine, the region and the term."""
    memory = f"{entry['memory_gib']} GiB" if "memory_gib" in entry else ""
    if entry.get("kind") == "cpu":
        what = f"{entry.get('vcpus')} vCPU"
    else:
        of = entry.get("instance_gpus", 1)
        what = f"one {entry.get('device')}" + (f" of {of}" if of != 1 else "")
    who = f"{entry.get('provider')} {entry.get('instance', '')}".strip()
    how = term_words(entry.get("term"), entry.get("commitment_months"))
    return ", ".join(str(part) for part in (who, what, memory, entry.get("region"), how) if part)
