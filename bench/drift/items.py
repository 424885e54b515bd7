"""Read the items of behaviour suites from JSON lines, and check them.

An item has ``id``, ``prompt`` and ``lang``. It also has either ``choices``, of which the model's
log-likelihood chooses one and ``right`` is the index of the right one, or something that its suite checks in
a reply, such as ``number``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.bounded import Contents, why
from bench.errors import UsageError
from bench.formatting import MIB
from bench.records import Json
from bench.store.files import canonical_json, is_unicode
from bench.store.json_lines import json_lines

DATA = Path(__file__).parent / "suites" / "data"
MOST_ITEMS, MOST_CHOICES = 5000, 20
MAX_LINE_BYTES, MAX_FILE_BYTES = 1 * MIB, 64 * MIB
MOST_IN_AN_ITEM = Contents(20_000, 100_000, 20_000)  # brackets and commas in texts count too
MOST_LETTERS = 200_000  # of a prompt or a choice; a text of 8,000 tokens has about 40,000
LANGUAGE = re.compile(r"any|[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
CHINESE = re.compile(r"[一-鿿]")
MOST_NAME = 100  # letters of an id, a language, a group or a kind
SHOWN = 400  # a result keeps this many letters from the end of a prompt
MOST_KEPT_BYTES = 4 * MIB  # of all items of a suite: they are one line of a journal, with the answers
Problem = Callable[[Json], str | None]  # says what is wrong with an item; None if it is valid


def read_items(path: Path) -> tuple[Json, ...]:
    """Return the items of a file. Raises ValueError with file and line, OSError if it cannot be read."""
    return _read(path, _problem)


def _read(path: Path, problem_of: Problem) -> tuple[Json, ...]:
    first: dict[str, tuple[str, Json]] = {}
    for where, item in _lines(path, problem_of):
        if item["id"] in first:
            raise ValueError(f"{where}: another item is called {item['id']!r}: {first[item['id']][0]}")
        first[item["id"]] = (where, item)
    if not first:
        raise ValueError(f"{path}: holds no item")
    items = tuple(item for _where, item in first.values())
    must_fit(items, str(path))
    return items


def must_fit(items: Sequence[Json], where: str) -> None:
    """Raise ValueError, which begins with ``where``, if a result cannot keep all these items."""
    sizes = [len(canonical_json(kept(item)).encode()) for item in items]
    if sum(sizes) > MOST_KEPT_BYTES:
        size, longest = max(zip(sizes, [item["id"] for item in items], strict=True))
        raise ValueError(
            f"{where}: a result keeps {MOST_KEPT_BYTES // MIB} MiB of a suite's items, and these take "
            f"{sum(sizes) / MIB:.1f} MiB; {longest!r} is the largest, with {size:,} bytes"
        )


def read_closed(file: str) -> tuple[Json, ...]:
    """Return the items of a user's file, each with choices and the index of the right one.

    Raises UsageError, which names the file and the line that is wrong.
    """
    try:
        return _read(Path(file), _closed_problem)
    except OSError as bad:
        raise UsageError(f"{file}: {why(bad)}") from None
    except ValueError as bad:
        raise UsageError(str(bad)) from None


def _lines(path: Path, problem_of: Problem) -> Iterator[tuple[str, Json]]:
    """Yield (FILE:LINE, item). Raises ValueError with file and line."""
    for where, item in json_lines(path, MOST_ITEMS, "items", MAX_LINE_BYTES, MOST_IN_AN_ITEM, MAX_FILE_BYTES):
        if not isinstance(item, dict):
            raise ValueError(f"{where}: an item is an object with id and prompt")
        if problem := problem_of(item):
            raise ValueError(f"{where}: {problem}")
        yield where, item


def _closed_problem(item: Json) -> str | None:
    """Say what is wrong with an item of a user's file, which must have choices and the right one."""
    if (problem := _problem(item)) is None and ("choices" not in item or item.get("right") is None):
        return "an item needs choices, and right, the place of the right one"
    return problem


def _problem(item: Json) -> str | None:
    """Say what is wrong with an item; None if it is valid."""
    for key in ("id", "lang", *(key for key in ("group", "kind") if key in item)):
        value = item.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME or not value.isprintable():
            return f"{key} must be 1 to {MOST_NAME} printable letters"
    chance = item.get("chance", 0)
    if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
        return "chance must be a number from 0 to 1"
    if not LANGUAGE.fullmatch(item["lang"]):
        return "lang must be a code such as en or zh, or any"
    if not _is_text(item.get("prompt")):
        return "prompt must be text"
    if item["lang"] == "zh" and not CHINESE.search(str([item["prompt"], item.get("choices")])):
        return "lang is zh, and there is no Chinese letter in it"
    if "choices" not in item:
        return None if item["prompt"].strip() else "the prompt is empty"
    choices = item["choices"]
    if not isinstance(choices, list) or not 2 <= len(choices) <= MOST_CHOICES:
        return f"choices must be a list of 2 to {MOST_CHOICES} texts"
    if not all(_is_text(choice) and choice for choice in choices):
        return "each of the choices must be text, and not empty"
    if len(set(choices)) < len(choices):
        return "choices must be texts that differ"
    right = item.get("right")
    if right is not None and (type(right) is not int or not 0 <= right < len(choices)):
        return f"right must be the place of a choice, 0 to {len(choices) - 1}"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_LETTERS and is_unicode(value)


def digest(items: Sequence[Json]) -> str:
    """Return the SHA-256 of the items; answers are compared only if their items have the same digest."""
    return hashlib.sha256(json.dumps(list(items), sort_keys=True).encode()).hexdigest()


def kept(item: Json) -> Json:
    """Return an item as a result keeps it: with all that judging needs, but only the end of a long prompt."""
    return {**item, "prompt": item["prompt"][-SHOWN:]}
