"""Define what a server says of itself, in the same words for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bench.formatting import one_line
from bench.records.json_form import Json

Evidence = Mapping[str, object]
MOST_LETTERS, MOST_NUMBER = 100, 10**12


@dataclass(frozen=True)
class Said:
    """Settings that change speed, memory or output; None where the server does not tell.

    ``quantisation`` is ``none`` if the server says that there is none. ``kv_dtype`` is the number format of
    the KV cache, ``max_length`` the most tokens of a prompt with its reply.
    """

    version: str | None = None
    dtype: str | None = None
    quantisation: str | None = None
    kv_dtype: str | None = None
    max_length: int | None = None
    prefix_caching: bool | None = None

    def to_json(self) -> Json:
        """Return it as it stands in a summary."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Said:
        """Read back what ``to_json`` wrote; keys of other versions are left out."""
        return cls(**{one.name: found.get(one.name) for one in fields(cls)})

    @property
    def sentence(self) -> str:
        """Say it for people; '' if nothing is known."""
        caching = {True: "prefix caching on", False: "prefix caching off", None: None}[self.prefix_caching]
        parts = [
            self.version and f"version {self.version}", self.dtype,
            self.quantisation and f"quantisation {self.quantisation}",
            self.kv_dtype and f"KV cache {self.kv_dtype}",
            self.max_length and f"at most {self.max_length:,} tokens", caching,
        ]  # fmt: skip
        return ", ".join(part for part in parts if part)


def at(evidence: Evidence, *keys: str) -> object:
    """Return what stands at a path of keys in the evidence, a list counting as its first item; None if
    nothing does."""
    found: object = evidence
    for key in keys:
        if isinstance(found, list):
            found = found[0] if found else None
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def text(value: object) -> str | None:
    """Return a value as words on one line; None for nothing."""
    if not isinstance(value, str | int | float) or value == "":
        return None
    return one_line(str(value)).removeprefix("torch.")[:MOST_LETTERS]


def number(value: object) -> int | None:
    """Return a whole number that can be one of tokens; None for anything else."""
    return value if type(value) is int and 0 <= value < MOST_NUMBER else None


def truth(value: object) -> bool | None:
    """Return a yes or no; None for anything else."""
    return value if isinstance(value, bool) else None
