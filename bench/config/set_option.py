"""Apply ``--set key=value`` to a config."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from bench.config.spelling import spelled
from bench.errors import UsageError
from bench.optimisations import spellings
from bench.yaml_source import BY_OPTION, MAX_DEPTH, YamlSource, parse_yaml


def override(source: YamlSource, text: str) -> YamlSource:
    """Apply one ``--set key.path=value``; the value is parsed as YAML."""
    keys, equals, value = text.partition("=")
    if not equals or not keys:
        raise UsageError(f"--set {text[:200]!r}: write key=value, such as --set workload.requests=8")
    read = parse_yaml(f"value: {value}", f"--set {keys}").data
    if not isinstance(read, dict) or set(read) != {"value"}:
        raise UsageError(f"--set {text[:200]!r}: give one value, on one line")
    data = copy.deepcopy(source.data)
    target: Any = data
    *parents, last = _place_of(text)
    if len(parents) >= MAX_DEPTH:
        raise UsageError(f"--set {text[:60]!r}: a key has at most {MAX_DEPTH} parts")
    lines = dict(source.lines)
    for depth, key in enumerate(parents, 1):
        target = target.setdefault(key, {}) if isinstance(target, dict) else None
        lines.setdefault(tuple(parents[:depth]), BY_OPTION)
    if not isinstance(target, dict):
        raise UsageError(f"--set {text[:200]!r}: {'.'.join(parents)[:200]} is not a block of keys")
    target[last] = read["value"]
    place = (*parents, last)
    lines = {path: line for path, line in lines.items() if path[: len(place)] != place}
    return spelled(YamlSource(source.file, data, {**lines, place: BY_OPTION}))


def refuse_replaced(overrides: Sequence[str]) -> None:
    """Raise UsageError for a ``--set`` that does nothing, because a later one replaces what it gives."""
    later: set[tuple[str, ...]] = set()
    for place in map(_place_of, reversed(overrides)):
        for length in range(1, min(len(place), MAX_DEPTH) + 1):
            if place[:length] in later:
                given, by = (".".join(one)[:200] for one in (place, place[:length]))
                raise UsageError(f"--set {given} does nothing: --set {by} comes after it and replaces it")
        later.add(place)


def _place_of(override: str) -> tuple[str, ...]:
    keys = override.partition("=")[0].strip()
    return tuple(spellings().get(key, key) for key in keys.split("."))
