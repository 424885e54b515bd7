"""Take the numbers and the chain out of a line of a journal, and put them back bit by bit.

What is left of a line is its **frame**: the same text with one byte in the place of each whole number, each
other number, the digest of the line before and the ``check`` of the line. JSON allows none of these bytes
anywhere, so a frame says without doubt where each of them was. A number is kept as the text has it: its
digits, and the power of ten by which they are multiplied; 0.25 is 25 and -2. So it takes few bytes if it has
few digits, and is never rounded. A number that Python would write differently (``1E5``, ``-0.0``, a whole one
of more than 64 bits) stays in the frame, and so does ``seq``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from bench.store.chain import MOST_IN_A_LINE

WHOLE, OTHER, PREV, CHECK = b"\x01", b"\x02", b"\x03", b"\x04"
_MOST_PLACES = MOST_IN_A_LINE.values + MOST_IN_A_LINE.containers  # a comma or a bracket is before each
_MOST_DIGITS, _MOST, _MOST_POWER = 20, 2**63, 1000
LONGEST_PATH = 120  # characters; a line may have a key of megabytes, and many numbers below it
_BELOW, _ABOVE = -(2**63), 2**63
# Texts are taken as a whole, so that digits in them are not mistaken for numbers. The time is linear.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9][0-9.eE+-]*+')
_WHOLE, _OTHER = WHOLE.decode(), OTHER.decode()
_MARKS = re.compile("([\x01\x02])")
_TENS = {-power: 10**power for power in range(1, 30)}


class CannotRebuild(Exception):
    """A frame and its numbers do not make a line; the message is a phrase."""


class Sample(NamedTuple):
    """A number of a record: where it stands (keys from the outside, joined with dots), and its value, which
    is ``digits`` times ten to the ``power``."""

    path: str
    digits: int
    power: int


def frame_of(line: bytes, record: Mapping[str, object]) -> tuple[bytes, list[Sample]]:
    """Return the frame of a line (with its newline) and its numbers, in the order of the text.

    ``record`` is what the line says as JSON, ``prev`` and ``check`` among it. Not every text has a frame of
    which ``line_of`` makes the same text again: whoever keeps frames must look.
    """
    samples: list[Sample] = []
    paths = _paths(record)

    def taken(token: re.Match[bytes]) -> bytes:
        text = token[0]
        if text.startswith(b'"'):
            return text
        path = next(paths)
        found = None if path == "seq" else _parts(text.decode())
        if found is None:
            return text
        mark, digits, power = found
        samples.append(Sample(path, digits, power))
        return mark.encode()

    unsealed = line.replace(_check(record.get("check")), CHECK, 1)
    return _TOKENS.sub(taken, unsealed.replace(_prev(record.get("prev")), PREV, 1)), samples


def line_of(frame: bytes, prev: str, numbers: Iterator[tuple[int, int]]) -> bytes:
    """Return the line of a frame, for which as many (digits, power) are taken as it has places.

    Raises CannotRebuild if there are too few, or more places than a line may have values.
    """
    places = frame.count(WHOLE) + frame.count(OTHER)
    if places > _MOST_PLACES:
        raise CannotRebuild(f"is asked for more than {_MOST_PLACES} numbers of a line")
    parts = _MARKS.split(frame.decode("latin-1"))  # each byte is a letter, and comes back as it was
    found = list(islice(numbers, places))
    if len(found) < places:
        raise CannotRebuild("has fewer numbers than its journal")
    parts[1::2] = [_text(mark, *number) for mark, number in zip(parts[1::2], found, strict=True)]
    line = "".join(parts).encode("latin-1").replace(PREV, _prev(prev), 1)
    sealed = hashlib.sha256(line.replace(CHECK, b"", 1).removesuffix(b"\n")).hexdigest()
    return line.replace(CHECK, _check(sealed), 1)


def in_unicode(text: str) -> str:
    """Return a text in which lone surrogates, which only JSON can have, are escaped."""
    return text.encode(errors="backslashreplace").decode()


def _check(digest: object) -> bytes:
    return f'"check":"{digest}",'.encode(errors="replace")


def _prev(digest: object) -> bytes:
    return f'"prev":"{digest}"'.encode(errors="replace")


def _parts(text: str) -> tuple[str, int, int] | None:
    """Return the mark, the digits and the power of a number; None if these would give another text."""
    mantissa, _, exponent = text.partition("e")
    before, point, after = mantissa.partition(".")
    mark = _OTHER if point or exponent else _WHOLE
    if len(before + after) > _MOST_DIGITS or len(exponent) > _MOST_DIGITS or "E" in text:
        return None
    digits, power = int(before + after), int(exponent or 0) - len(after)
    known = abs(digits) < _MOST and abs(power) < _MOST_POWER and _text(mark, digits, power) == text
    return (mark, digits, power) if known else None


def _text(mark: str, digits: int, power: int) -> str:
    """Return a number as canonical JSON has it."""
    if mark == _OTHER:
        ten = _TENS.get(power)  # Python divides whole numbers without a rounding but the last
        return repr(digits / ten if ten else float(f"{digits}e{power}"))
    if power:
        raise CannotRebuild("has a whole number with a power of ten")
    return str(digits)


def _paths(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of each number, in the order in which JSON has them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            yield from _paths(inner, in_unicode(place[:LONGEST_PATH]))
    elif isinstance(value, list):
        for inner in value:
            if type(inner) in (int, float):  # what most of a journal is
                yield path
            else:
                yield from _paths(inner, path)
    elif type(value) in (int, float):
        yield path
