"""Bring a config's keys into the spelling used here."""

from __future__ import annotations

from typing import Any

from bench.optimisations import spellings
from bench.yaml_source import KeyPath, YamlSource


def spelled(source: YamlSource) -> YamlSource:
    """Return the same file with American and long spellings of keys replaced by the spellings used here."""
    lines = {tuple(_ours(part) for part in path): line for path, line in source.lines.items()}
    return YamlSource(source.file, _ours_in(source, source.data, ()), lines)


def _ours(part: str | int) -> str | int:
    return spellings().get(part, part) if isinstance(part, str) else part


def _ours_in(source: YamlSource, value: Any, path: KeyPath) -> Any:
    if isinstance(value, list):
        return [_ours_in(source, inner, (*path, index)) for index, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    found: dict[str | int, Any] = {}
    for key, inner in value.items():
        ours = _ours(key)
        if ours in found:
            raise source.error((*path, key), f"{ours!r} is given twice, in two spellings", "keep one of them")
        found[ours] = _ours_in(source, inner, (*path, key))
    return found
