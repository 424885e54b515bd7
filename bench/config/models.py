"""Find the models that a config names, and what is known of them; no weights are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.bounded import state_of
from bench.errors import UsageError
from bench.models.checks import check_directory
from bench.models.gguf_format import is_gguf
from bench.models.gguf_parts import check_model
from bench.models.lora import is_adapter, read_adapter
from bench.models.reference import Hub, LocalPath, ModelRef, Named, Random, is_commit
from bench.models.registry import FindModel
from bench.models.shrink import ALLOWED, why_not
from bench.yaml_source import KeyPath, YamlSource, blaming

REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
A_SERVER = "a server is runtime: {name: openai-http, url: ...}, or the cloud: {url: ...} of a cascade"
MODEL_FORMS = ({"hub", "revision"}, {"path"}, {"random", *ALLOWED})


def read_model(source: YamlSource, raw: object, path: KeyPath, find: FindModel) -> ModelRef:
    """Read a model: a name, {hub, revision}, {path}, or {random} and a size. Raises ConfigError."""
    given = raw.get("path") if isinstance(raw, dict) else raw
    if isinstance(given, str) and ADDRESS.match(given):
        raise source.error(path, "an address is no model: this one is loaded on this machine", A_SERVER)
    if isinstance(raw, str):
        return Named(_known_model(source, raw, path, find, random=False))
    if not isinstance(raw, dict) or not any(set(raw) <= form and raw for form in MODEL_FORMS):
        raise source.error(
            path, "not a model", "write a name in models/, {hub, revision}, {path} or {random}"
        )
    for key in ("hub", "path", "random"):
        if key in raw and not isinstance(raw[key], str):
            raise source.error((*path, key), f"should be text, not {raw[key]!r:.60}")
    if "hub" in raw:
        return _hub(source, raw, path)
    if "path" in raw:
        return LocalPath(_sound_path(source, Path(raw["path"]), (*path, "path")))
    if "random" not in raw:
        raise source.error(path, "not a model", f"{next(iter(raw))} belongs to {{hub}} or {{random}}")
    name = _known_model(source, raw["random"], (*path, "random"), find, random=True)
    size = {key: raw[key] for key in ALLOWED if raw.get(key) is not None}
    for key, value in size.items():
        if reason := why_not(find(name).config, key, value):
            raise source.error((*path, key), reason)
    return Random(name, **size)


def _hub(source: YamlSource, raw: Mapping[str, Any], path: KeyPath) -> Hub:
    if not re.fullmatch(REPOSITORY, raw["hub"]):
        raise source.error((*path, "hub"), f"{raw['hub'][:60]!r} is not a repository", "write OWNER/NAME")
    if not is_commit(str(raw.get("revision", ""))):
        raise source.error(
            (*path, "revision"), "a hub model needs its revision as 40 hex digits", "branches move"
        )
    return Hub(raw["hub"], str(raw["revision"]))


def _sound_path(source: YamlSource, place: Path, path: KeyPath) -> Path:
    """Check the headers of a model directory or a GGUF file and return its path; no weights are read."""
    with blaming(source, path, str(place)):
        if is_gguf(place) and not place.is_dir():
            _sound_gguf(place, state_of(place))
        elif place.is_dir():
            _sound_directory(place.resolve(), place.stat().st_mtime_ns)
        else:
            raise UsageError(f"{str(place)[:60]!r} is no model directory and no .gguf file")
    return place


@lru_cache
def _sound_directory(place: Path, _changed: int) -> None:
    """Check a directory once for all rows that name it. It is checked again before it is loaded."""
    if is_adapter(place):
        read_adapter(place)
    else:
        check_directory(place)


@lru_cache
def _sound_gguf(place: Path, _state: tuple[int, int] | None) -> None:
    """Check a GGUF file once for all rows that name it: its header has some hundred thousand tokens."""
    check_model(place)


def _known_model(source: YamlSource, name: str, path: KeyPath, find: FindModel, *, random: bool) -> str:
    with blaming(source, path):
        if reason := find(name).why_not(random=random):
            raise UsageError(reason)
    return name
