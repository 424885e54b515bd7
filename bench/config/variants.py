"""Read the list of variants. A variant with a sweep of its own makes a row for each combination of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from unicodedata import normalize

from bench.config.block_reader import BlockReader
from bench.config.merging import Raw, merged
from bench.config.steps import settings_of
from bench.config.sweep import cells
from bench.optimisations import verbs
from bench.yaml_source import KeyPath

ARM_KEYS = ("model", "runtime", "workload", "optimise")
MAX_ROWS = 1000
MOST_LETTERS = 100
Home = str | int  # where a key of a sweep belongs: a block by its name, or a step by its place


@dataclass(frozen=True)
class Variant:
    """What a row changes: its name, the name that the file gives (which several rows of a sweep have in
    common), its keys, and where they are written. ``lines`` has the lines of keys that a sweep has set."""

    name: str
    written: str
    raw: Raw
    path: KeyPath
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def is_among(self, names: Sequence[str]) -> bool:
        """Return whether the user has chosen this row, by its own name or by that in the file."""
        return self.name in names or self.written in names


def variants_of(reader: BlockReader, listed: object, blocks: Mapping[str, str]) -> list[Variant]:
    """Return a variant for each row; ``blocks`` names the block of each key that a sweep may list.

    Raises ConfigError for a list that cannot be read, for two rows of one name, and for too many rows.
    """
    if not isinstance(listed, list):
        raise reader.source.error(("variants",), "must be a list of variants")
    found: list[Variant] = []
    taken = {"baseline": "baseline"}
    for index, raw in enumerate(listed):
        for variant in _rows(reader, raw, ("variants", index), blocks):
            other = taken.get(seen := _as_seen(variant.name))
            if other is not None:
                same = other == variant.name
                problem = "is taken" if same else f"looks like {other!r}: nobody could tell their rows apart"
                raise reader.source.error((*variant.path, "name"), f"{variant.name!r} {problem}")
            if len(found) == MAX_ROWS:
                raise reader.source.error(("variants",), f"make more than {MAX_ROWS} rows")
            taken[seen] = variant.name
            found.append(variant)
    return found


def _as_seen(name: str) -> str:
    """Return a name as a reader of a table sees it: other forms of the same letters, and spaces, are one."""
    return " ".join(normalize("NFKC", name).split())


def written_out(variants: Sequence[Variant]) -> list[Raw]:
    """Return variants as a file would have them that writes each row by itself."""
    return [{"name": variant.name, **variant.raw} for variant in variants]


def _rows(reader: BlockReader, raw: object, path: KeyPath, blocks: Mapping[str, str]) -> Iterator[Variant]:
    if not isinstance(raw, dict):
        raise reader.source.error(path, "must be a block with a name")
    reader.known(raw, path, ("name", *ARM_KEYS, "sweep"))
    own = {key: value for key, value in raw.items() if key in ARM_KEYS}
    name: str | None = raw.get("name")
    if name is not None or "sweep" not in raw:
        name = _name(reader, name, path)
    if name is not None and "sweep" not in raw:
        yield Variant(name, name, own, path)
        return
    place, swept = (*path, "sweep"), raw["sweep"]
    if not isinstance(swept, dict) or not swept:
        raise reader.source.error(place, "must be a block of lists, such as {sparsity: [0.3, 0.5]}")
    homes: dict[str, Home] = dict(blocks)
    homes |= _homes_in_steps(reader, own.get("optimise", []), swept, place, blocks)
    reader.known(swept, place, tuple(homes))
    lines = {
        (*path, *_inner(homes[key], key)): line
        for key in swept
        if (line := reader.source.line((*place, key))) is not None
    }
    for label, overlay in cells(reader.source, swept, homes, place):
        row = _name(reader, label if name is None else f"{name} {label}", path)
        yield Variant(row, row if name is None else name, _laid(own, overlay), path, lines)


def _name(reader: BlockReader, name: object, path: KeyPath) -> str:
    """Return the name of a row. Raises ConfigError for anything that cannot name one."""
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= MOST_LETTERS or not name.isprintable():
        problem = f"every variant needs a name of at most {MOST_LETTERS} characters, on one line"
        long = isinstance(name, str) and len(name) > MOST_LETTERS and (*path, "sweep") in reader.source.lines
        hint = f"with the values of its sweep it is {str(name)[:60]!r}…" if long else ""
        raise reader.source.error((*path, "name"), problem, hint)
    return name


def _homes_in_steps(
    reader: BlockReader, steps: object, swept: Raw, place: KeyPath, blocks: Mapping[str, str]
) -> dict[str, int]:
    """Return the place of the step to which each key belongs: a setting of a step, or the kind of a step,
    whose scheme the sweep replaces. A kind that no step has makes a further step at the end.

    Raises ConfigError for a key of a sweep that belongs to two steps, or to a step and a block.
    """
    written = list(steps) if isinstance(steps, list) else []
    found: dict[str, int] = {}
    for index, step in enumerate(written):
        for key in settings_of(step):
            if key in swept and (key in found or key in blocks):
                problem = (
                    "belongs to two steps" if key in found else f"belongs to {blocks[key]} and to a step"
                )
                raise reader.source.error((*place, key), problem, "write a variant for each value")
            found[key] = index
    for key in swept:
        if key in verbs() and key not in found:
            found[key] = max((len(written), *(home + 1 for home in found.values())))
    return found


def _inner(home: Home, key: str) -> KeyPath:
    """Return the path of a key below its variant."""
    if isinstance(home, int):
        return "optimise", home, key
    return (home,) if home == key else (home, key)


def _laid(own: Raw, overlay: Mapping[Home, Raw]) -> Raw:
    """Return the keys of a variant with the values of one combination."""
    blocks = {home: values for home, values in overlay.items() if isinstance(home, str)}
    changed = sorted((home, values) for home, values in overlay.items() if isinstance(home, int))
    result = merged(own, blocks)
    steps = own.get("optimise", [])
    if not changed or not isinstance(steps, list):  # what is no list is refused where steps are read
        return result
    steps = list(steps)
    for place, values in changed:
        steps[place : place + 1] = [{**(steps[place] if place < len(steps) else {}), **values}]
    return {**result, "optimise": steps}
