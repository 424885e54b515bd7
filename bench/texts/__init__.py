"""Provide evaluation texts, read from where a package puts them: one file per text, with ``read() -> str``.

Nothing is copied into this repository. The result keeps the text's SHA-256; figures on different texts are
not compared.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from bench import plugins
from bench.bounded import read_bounded, state_of, why
from bench.errors import UsageError
from bench.formatting import MIB, did_you_mean

MAX_BYTES = 64 * MIB


@dataclass(frozen=True)
class EvaluationText:
    """A text on which drift is measured; ``name`` is what the config calls it."""

    name: str
    content: str

    @cached_property
    def sha256(self) -> str:
        """Return the digest of the content: figures on different texts are not compared."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def about(self) -> dict[str, str | int]:
        """Return what a result keeps of the text."""
        return {"name": self.name, "sha256": self.sha256, "characters": len(self.content)}


def read_text(name: str) -> str:
    """Return the text called ``name`` in bench/texts, else the content of the file at that path.

    Raises UsageError if there is neither, or if the file is no UTF-8 text of at most 64 MiB.
    """
    known = plugins.names("texts")
    if name in known:
        return str(plugins.load("texts", name).read())
    if not os.path.lexists(name):
        hint = did_you_mean(name, known, f"known: {', '.join(known)}, or a path")
        raise UsageError(f"no text {name[:60]!r} ({hint})")
    try:
        return read_bounded(Path(name), MAX_BYTES).decode("utf-8").removeprefix("\ufeff")
    except OSError as bad:
        raise UsageError(f"{name}: {why(bad)}") from None
    except UnicodeDecodeError as bad:
        raise UsageError(f"{name}: is not UTF-8 text ({bad.reason} at byte {bad.start})") from None


def check_text(name: str) -> None:
    """Raise UsageError unless ``name`` is a text that can be read and is not empty. A text of ours is not
    made for that."""
    if name not in plugins.names("texts"):
        _digest_of(name)


def share_text(one: str, other: str) -> bool:
    """Return whether one of two texts, by their names or paths, holds the whole of the other: who was
    calibrated on one has then seen the other, or a part of it. A text of ours is not compared with a file.
    """
    names = plugins.names("texts")
    if one == other or (one in names and other in names):
        return one == other or one in _parts(other) or other in _parts(one)
    if one in names or other in names:
        return False
    return _share(one, state_of(Path(one)), other, state_of(Path(other)))


def _parts(name: str) -> tuple[str, ...]:
    """Return the names of the texts that a text of ours is made of; none if it is made of no other."""
    return tuple(getattr(plugins.load("texts", name), "PARTS", ()))


@lru_cache(maxsize=16)
def _share(one: str, _state: tuple[int, int] | None, other: str, _other: tuple[int, int] | None) -> bool:
    short, long = sorted((read_text(one).strip(), read_text(other).strip()), key=len)
    return short in long


def _digest_of(file: str) -> str:
    """Return the digest of a text of the user. It is read once, although each of a thousand rows may name
    it. Raises UsageError."""
    return _digest(file, state_of(Path(file)))


@lru_cache(maxsize=16)
def _digest(file: str, _state: tuple[int, int] | None) -> str:
    text = read_text(file)
    if not text.strip():
        raise UsageError(f"{file}: holds no text")
    return hashlib.sha256(text.encode()).hexdigest()
