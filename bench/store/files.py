"""Write files atomically, make names safe as paths, and read and write JSON in one canonical form."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from bench.bounded import MOST, Contents, must_be_modest, open_regular
from bench.errors import BenchError, OnFailure, UsageError

_SLUG_LENGTH = 48
_HASH_LENGTH = 8
_WINDOWS_DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
_LOOKS_HASHED = re.compile(rf".*-[0-9a-f]{{{_HASH_LENGTH}}}")
_INTEGER_DIGITS = 40  # a 128-bit seed has 39 digits; a tampered file may have numbers of 400
# Maps every digit to 0, both letters of an exponent to e, and every character that ends a number to a comma,
# so that a search finds long numbers and exponents. A digest such as 3e141f is not mistaken for a number,
# because another letter or a quote follows its digits.
_SHAPES = bytes(
    48 if 48 <= byte < 58 else 101 if byte in b"eE" else 44 if byte in b",]} \t\r\n" else 32
    for byte in range(256)
)
_LONG_EXPONENT = re.compile(rb"0e000+(,|\Z)")


def canonical_json(value: object) -> str:
    """Return ``value`` as JSON in the form that is hashed and stored: sorted keys, no spaces, no escapes.

    Keys must be strings; records become objects. Lone halves of a surrogate pair, which a model's output may
    have, are written as ``\\udxxx``, because UTF-8 cannot encode them. Raises BenchError for NaN, infinity, a
    circular reference, or nesting too deep to read back, and TypeError for values that JSON does not have.
    """
    from bench.records import plain  # not above: all records take longer to import than a list of runs needs

    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=plain
        )
    except ValueError as error:
        raise BenchError(f"not finite or not a tree, so not stored: {error}") from None
    except RecursionError:
        raise BenchError("nested too deeply, so not stored") from None
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half.group()):04x}", joined)
    return text


def digest(value: object) -> str:
    """Return the SHA-256 (64 hex digits) of ``value``'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def is_unicode(text: str) -> bool:
    """Return whether a text is valid Unicode; JSON can contain lone surrogates, which tokenizers reject."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strict_json(data: bytes, most: Contents = MOST) -> object:
    """Parse JSON strictly.

    Raises ValueError for everything on which parsers differ (duplicate keys, NaN, 1e999, huge integers), for
    more than ``most`` lists, objects, values or keys, and for deep nesting.
    """
    must_be_modest(data, most)
    checking = _may_have_a_huge_number(data)  # checking every number takes as long as parsing all
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite if checking else None,
            parse_int=_bounded if checking else None,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _may_have_a_huge_number(data: bytes) -> bool:
    """Return whether there may be a number of more than 40 digits, or an exponent of three digits."""
    shape = data.translate(_SHAPES, b"+-")
    if b"0" * (_INTEGER_DIGITS + 1) in shape:
        return True
    return b"0e000" in shape and _LONG_EXPONENT.search(shape) is not None


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:_SLUG_LENGTH]!r} stands twice")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:_SLUG_LENGTH]} is beyond the range of a float")
    return number


def _bounded(text: str) -> int:
    if len(text) > _INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def slug(name: str) -> str:
    """Turn any ``name`` into a path component of lower-case ASCII letters, digits and single dashes.

    A name that already has this form, with at most 48 characters, is kept. Any other name is simplified and
    gets ``-`` and 8 hex digits of its SHA-256, so that distinct names keep distinct slugs. A name that itself
    ends like such a slug gets them too, and so does a device name of Windows (``con``), because results may
    be copied there.
    """
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_LENGTH].rstrip("-")
    if base and base == name and not _WINDOWS_DEVICES.fullmatch(name) and not _LOOKS_HASHED.fullmatch(name):
        return name
    name_hash = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{base or 'unnamed'}-{name_hash[:_HASH_LENGTH]}"


def contained(root: Path, *parts: str | Path) -> Path:
    """Return the path of ``parts`` below ``root``, with all links resolved.

    Raises UsageError if the path is not below ``root``.
    """
    wanted = "/".join(str(part) for part in parts)
    try:
        resolved_root = root.resolve()
        target = resolved_root.joinpath(*parts).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL byte
        raise UsageError(f"not a usable path: {wanted[:200]!r} ({error})") from None
    if target == resolved_root or not target.is_relative_to(resolved_root):
        raise UsageError(f"path outside {root}: {wanted[:200]!r}")
    return target


@contextmanager
def naming(
    doing: str, path: Path, consequence: str = "", failed: type[BenchError] = BenchError
) -> Iterator[None]:
    """Turn an OSError of the block into ``failed``, whose message is "cannot DOING PATH: reason"."""
    try:
        yield
    except OSError as error:
        raise failed(f"cannot {doing} {path}: {error.strerror or error}{consequence}") from error


def write_atomic(path: Path, text: str) -> None:
    """Replace the file ``path`` by ``text`` (UTF-8) atomically: after a crash it is the old or the new file.

    Raises BenchError with ``path`` if the disk is full or not writable; the old file then stays.
    """
    write_atomic_bytes(path, text.encode(errors="backslashreplace"))


def write_atomic_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file ``path`` by bytes, as ``write_atomic`` does; ``mode`` is reduced by the umask."""
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    with naming("write", path):
        with OnFailure(lambda: temporary.unlink(missing_ok=True)):
            _write_synced(temporary, data, mode)
            os.replace(temporary, path)  # noqa: PTH105 - all other calls here are of ``os`` too
        sync_directory(path.parent)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, also if the system takes only a part of it per call. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_directory(directory: Path) -> None:
    """Wait until the names in ``directory`` are on the disk. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not support it
            raise
    finally:
        os.close(fd)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (64 hex digits) of a regular file. Raises BenchError if it cannot be read."""
    with naming("read", path), open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
