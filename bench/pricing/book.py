"""The price book: one YAML file for each price, with its date and source, read into frozen records.

A file gives the price of one device: a whole CPU instance, or one GPU together with its share of the host.
Its dollars, watts and hours are all for that one device. pydantic and PyYAML are imported on first use.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le, MinLen

from bench.bounded import read_bounded
from bench.data_paths import data_directories
from bench.errors import ConfigError, IntegrityError, UsageError
from bench.formatting import nearest, one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

MAX_USD_PER_HOUR: Final = 1000
MAX_FILE_BYTES: Final = 65_536
FORMULA_OWNED_HOUR: Final = "R = purchase_usd * (1 + overhead) / life_hours"

Text = Annotated[str, MinLen(1)]
Positive = Annotated[float, Gt(0)]

_OWNED: Final = ("purchase_usd", "overhead", "life_hours")
_POWER: Final = ("usd_per_kwh", "pue", "average_watts")
_HINTS: Final = {
    ("usd_per_hour", "less_than_equal"): "dollars per device-hour; is this per month, or per 1k tokens?",
    ("currency", "literal_error"): "convert to USD, and say in source at which rate and on which day",
}
_TWICE: Final = "the price already holds power: billing it again would count it twice"


@dataclass(frozen=True)
class HardwarePrice:
    """The price of one hour of one device, its date and its source.

    ``date`` is the day on which the price held. ``usd_per_hour`` (rented) and ``purchase_usd`` (owned) are
    for one GPU, or for a CPU instance of ``vcpus``; ``gpus`` is how many GPUs a run occupies. ``overhead`` is
    the fraction added to the purchase for what is around it, ``life_hours`` the hours over which the purchase
    is spread, ``pue`` the watts at the meter over the watts at the device. ``average_watts`` is the owner's
    figure under load, declared and not measured.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    id: Text
    name: Text
    kind: Literal["cpu", "gpu"]
    ownership: Literal["rented", "owned"]
    date: dt.date
    source: Text
    currency: Literal["USD"]
    includes_power: bool
    note: str = ""
    vcpus: Annotated[int, Gt(0)] | None = None
    gpus: Annotated[int, Gt(0)] | None = None
    usd_per_hour: Annotated[float, Gt(0), Le(MAX_USD_PER_HOUR)] | None = None
    purchase_usd: Positive | None = None
    overhead: Annotated[float, Ge(0)] | None = None
    life_hours: Positive | None = None
    usd_per_kwh: Positive | None = None
    pue: Annotated[float, Ge(1)] | None = None
    average_watts: Positive | None = None

    @property
    def hourly_usd(self) -> float:
        """Return R, dollars per device-hour without power: the rent, or the purchase spread over its life."""
        if self.usd_per_hour is not None:
            return self.usd_per_hour
        if self.purchase_usd is None or self.overhead is None or self.life_hours is None:
            raise UsageError(f"price {self.id!r} has neither a rent nor a complete purchase")
        return self.purchase_usd * (1 + self.overhead) / self.life_hours


def parse_price(mapping: Mapping[str, object], file: str) -> HardwarePrice:
    """Read the price in ``mapping``, a YAML file or the block kept in ``run.json``; ``file`` is for messages.

    Raises ConfigError, which names the first key that is unknown, missing, out of range or bills power twice.
    """
    from pydantic import ValidationError

    given = {str(key): value for key, value in mapping.items() if value is not None}
    if "date" in given:
        given["date"] = _real_date(given["date"], file)
    try:
        # JSON mode is strict about numbers and flags, and still builds a dataclass from a mapping.
        price = _adapter().validate_json(json.dumps(given, default=str))
    except ValidationError as error:
        raise _config_error(error.errors(include_url=False)[0], file) from None
    _check_combination(price, file)
    return price


def recorded_price(mapping: Mapping[str, object], run_id: str) -> HardwarePrice:
    """Read the price that a run keeps. Raises IntegrityError, since no run was written with a bad one."""
    try:
        return parse_price(mapping, f"run {run_id}")
    except ConfigError as bad:
        raise IntegrityError(f"{bad}: the price was changed after the run") from None


def load_book(directory: Path) -> dict[str, HardwarePrice]:
    """Return every ``<id>.yaml`` in ``directory`` by id. Raises ConfigError for a bad file or for none."""
    book = {path.stem: _load(path) for path in sorted(directory.glob("*.yaml"))}
    if not book:
        raise ConfigError(str(directory), "no price files (*.yaml) here")
    return book


def default_book() -> dict[str, HardwarePrice]:
    """Return every price in ``configs/prices`` of the working directory, the repository and the package.

    The first directory that has an id wins.
    """
    book: dict[str, HardwarePrice] = {}
    for directory in data_directories("configs/prices"):
        book = {**load_book(directory), **book}
    return book


def find_price(book: Mapping[str, HardwarePrice], price_id: str) -> HardwarePrice:
    """Return the price called ``price_id``. Raises UsageError, which names the nearest known id."""
    if price_id in book:
        return book[price_id]
    close = nearest(price_id, book)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(book))}"
    raise UsageError(f"no price called {price_id!r} ({hint})")


def _load(path: Path) -> HardwarePrice:
    mapping, lines = _read(path)
    try:
        price = parse_price(mapping, str(path))
    except ConfigError as error:
        error.line = lines.get(error.key)
        raise
    if price.id != path.stem:
        raise ConfigError(str(path), f"is {price.id!r}, the file {path.stem!r}", lines["id"], "id")
    return price


def _read(path: Path) -> tuple[dict[str, object], dict[str, int]]:
    """Return the file's keys and values (dates as text), and the line of each key; refuse duplicate keys."""
    import yaml

    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    try:
        loader = yaml.SafeLoader(read_bounded(path, MAX_FILE_BYTES))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(str(path), "not a mapping of keys to values")
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in values:
                raise ConfigError(str(path), f"given twice (first on line {lines[key]})", line, key)
            if not isinstance(value_node, yaml.ScalarNode):
                raise ConfigError(str(path), "not a single value", line, key)
            dated = value_node.tag == "tag:yaml.org,2002:timestamp"
            values[key] = value_node.value if dated else loader.construct_object(value_node)
            lines[key] = line
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(str(path), f"not readable: {problem}", mark.line + 1 if mark else None) from error
    return values, lines


@functools.cache
def _adapter() -> TypeAdapter[HardwarePrice]:
    from pydantic import TypeAdapter

    return TypeAdapter(HardwarePrice)


def _real_date(value: object, file: str) -> dt.date:
    """Parse a date that exists, written YYYY-MM-DD."""
    try:
        return dt.datetime.strptime(str(value), "%Y-%m-%d").date()
    except ValueError as error:
        raise ConfigError(file, f"not a day: {error}", key="date", hint="write YYYY-MM-DD") from None


def _config_error(detail: ErrorDetails, file: str) -> ConfigError:
    """Turn pydantic's first error into a ConfigError, with a hint if one can be given."""
    key = one_line(str(detail["loc"][0])) if detail["loc"] else ""
    kind = detail["type"]
    if kind == "unexpected_keyword_argument":
        close = nearest(key, (name for name in HardwarePrice.__dataclass_fields__ if name != key))
        return ConfigError(file, "unknown key", key=key, hint=f"did you mean {close!r}?" if close else "")
    problem = "missing" if kind == "missing" else f"{detail['msg']}, got {detail['input']!r:.60}"
    return ConfigError(file, problem, key=key, hint=_HINTS.get((key, kind), ""))


def _check_combination(price: HardwarePrice, file: str) -> None:
    """Check that a price has all keys of its kind, ownership and power boundary, and none of other kinds."""
    wanted = (
        "vcpus" if price.kind == "cpu" else "gpus",
        *(("usd_per_hour",) if price.ownership == "rented" else _OWNED),
        *(() if price.includes_power else _POWER),
    )
    what = f"{price.ownership} {price.kind}, includes_power: {str(price.includes_power).lower()}"
    for key in ("vcpus", "gpus", "usd_per_hour", *_OWNED, *_POWER):
        given = getattr(price, key) is not None
        if given and key not in wanted:
            hint = _TWICE if key in _POWER else ""
            raise ConfigError(file, f"has no place here ({what})", key=key, hint=hint)
        if not given and key in wanted:
            raise ConfigError(file, f"missing ({what})", key=key)
