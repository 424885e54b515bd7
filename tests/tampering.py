"""Runs that somebody edited: one change to a record, and everything around it made to fit again."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.results.summary import RUN_JSON, SEAL, sealed
from bench.store.journal import Journal
from bench.store.replay import JOURNAL

Path_ = tuple[str | int, ...]
OWN = ("seq", "prev", "check")
INSTEAD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 5, 0.5, -0.5, 1e308, -1e308, 5e-324, 2**53, 2**63, 10**39, "", "x", "1",
    "ok",
    "two\nlines", "::error::x", "\x1b[31m", "é" * 500, "2026-01-01T00:00:00Z", [], {}, [[]], {"": {}}, [None],
    [0] * 50, {"a": {"b": {"c": []}}},
)  # fmt: skip


def places(value: object, path: Path_ = ()) -> Iterator[Path_]:
    """Every place in a tree of JSON, the containers before what is in them."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:20]):
            yield from places(item, (*path, index))


def edited(tree: Any, draw: random.Random) -> tuple[Any, str]:
    """A copy of ``tree`` with one edit, and a description of the edit."""
    found = copy.deepcopy(tree)
    path = draw.choice([place for place in places(found) if place[0] not in OWN])
    holder = found
    for part in path[:-1]:
        holder = holder[part]
    last = path[-1]
    how = draw.choice(("replace", "replace", "replace", "delete", "repeat", "rename", "scale"))
    if how == "delete":
        del holder[last]
    elif how == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif how == "rename" and isinstance(holder, dict):
        holder[draw.choice(("", "x", "name", "status"))] = holder.pop(last)
    elif how == "scale" and type(holder[last]) in (int, float):
        scaled = holder[last] * draw.choice((-1, 0, 1e6, 1e300))
        holder[last] = scaled if math.isfinite(scaled) else 1e308
    else:
        holder[last] = copy.deepcopy(draw.choice(INSTEAD))
    return found, f"{how} {path}"


def rechained(directory: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write these records as a sound journal: every digest is right, whatever the records say."""
    path = directory / JOURNAL
    path.unlink(missing_ok=True)
    with Journal.create(path, lambda: "2026-01-31T12:00:00Z") as journal:
        for record in records:
            kind = record.get("kind")
            body = {key: value for key, value in record.items() if key not in (*OWN, "kind", "at_utc")}
            journal.append(kind if isinstance(kind, str) else "arm", body)


def records_of(directory: Path) -> list[dict[str, Any]]:
    """The records of a journal as they are in the file."""
    return [json.loads(line) for line in (directory / JOURNAL).read_text().splitlines()]


def tampered_journal(directory: Path, draw: random.Random) -> str:
    """Edit a record of the run in ``directory``, sometimes two, and leave out ``run.json``."""
    records, said = records_of(directory), []
    for _ in range(draw.choice((1, 1, 1, 2))):
        if draw.random() < 0.1:
            at = draw.randrange(len(records))
            said.append(f"record {at}: left out")
            del records[at]
        else:
            at = draw.randrange(len(records))
            records[at], how = edited(records[at], draw)
            said.append(f"record {at}: {how}")
    rechained(directory, records)
    (directory / RUN_JSON).unlink(missing_ok=True)
    return "; ".join(said)


def tampered_summary(directory: Path, draw: random.Random) -> str:
    """Edit ``run.json``: with its seal as it was, with a new seal, or without one and without a journal."""
    path = directory / RUN_JSON
    content = json.loads(path.read_text())
    seal = content.pop(SEAL)
    content, how = edited(content, draw)
    kind = draw.choice(("old seal", "new seal", "no seal, no journal", "no seal"))
    if kind == "old seal":
        content[SEAL] = seal
    elif kind == "new seal":
        try:
            content = dict(sealed(content, directory / JOURNAL))
        except Exception as bad:  # noqa: BLE001 - what cannot be sealed, such as 1e400, is written as it is
            kind = f"no seal ({type(bad).__name__})"
    if kind == "no seal, no journal":
        (directory / JOURNAL).unlink()
    path.write_text(json.dumps(content))
    return f"{kind}: {how}"
