"""Define the types of values in a results directory: a line of text, a time, a day, an amount, a count.

Numbers must be numbers and not text, and they are limited so that a product of several is still finite.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench.errors import IntegrityError
from bench.formatting import one_line

DAY_LETTERS = 10  # YYYY-MM-DD
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}(Z|[+-][0-9:]{5,8})")
SHOWN = 80  # a message shows at most so many letters of a value
MOST_NAME = 300  # letters; a variant's name has at most 100, a cell's name joins the keys of a sweep
MOST_REPLY = 65_536  # letters, 8 for each of 8,192 tokens; the time to compare two is the product of both
MOST = 1e24  # operations, bytes, dollars; larger than any figure, and a product of several is still finite


@lru_cache(maxsize=4096)  # every row has the same names of figures
def _one_line(text: str) -> str:
    if not text.isprintable() or len(text) > MOST_NAME:
        raise ValueError(f"should be one line of at most {MOST_NAME} printable letters")
    return text


def _whole_letters(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has half of a letter (a lone surrogate)") from None
    return text


def _a_time(text: str) -> str:
    if not _TIME.fullmatch(text) or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("should be a time with its zone, such as 2026-01-31T12:00:00Z")
    return text


def _real_day(text: str) -> str:
    """Return ``text`` if it is an existing day in the form YYYY-MM-DD. Raises ValueError otherwise."""
    if len(text) != DAY_LETTERS or str(date.fromisoformat(text)) != text:
        raise ValueError("not a day, YYYY-MM-DD")
    return text


Name = Annotated[str, AfterValidator(_one_line)]
Whole = Annotated[str, AfterValidator(_whole_letters)]
Reply = Annotated[str, Field(max_length=MOST_REPLY), AfterValidator(_whole_letters)]
Stamp = Annotated[str, AfterValidator(_a_time)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=MOST)]
Above0 = Annotated[float, Field(allow_inf_nan=False, gt=0, le=MOST)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-MOST, le=MOST)]
Nats = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1e3)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Small = Annotated[int, Field(ge=0, le=1_000_000)]
Nanoseconds = Annotated[int, Field(ge=1, le=10**18)]
Count = Annotated[int, Field(ge=0, le=10**24)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Day = Annotated[str, Field(max_length=DAY_LETTERS), AfterValidator(_real_day)]


class Block(BaseModel):
    """Ignore keys that are not fields, and require numbers to be numbers and not text."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)


def check_block(kind: type[BaseModel], value: object, where: str) -> None:
    """Check a block against its schema. Raises IntegrityError with ``where`` and the key."""
    try:
        kind.model_validate(value)
    except ValidationError as bad:
        raise IntegrityError(f"{where}: {explained(bad)}") from None


def explained(bad: ValidationError) -> str:
    """Return the key and the message of the first error, on one line."""
    first = bad.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return one_line(f"{place[:MOST_NAME]}: {first['msg']}, not {first['input']!r:.{SHOWN}}")
