"""The settings of a plug-in: what a config gives, checked against the plug-in's own dataclass."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from bench.config.blocks import Block
from bench.errors import ConfigError
from bench.formatting import did_you_mean
from bench.yaml_source import KeyPath, YamlSource

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def settings(source: YamlSource, kind: Any, given: dict[str, Any], path: KeyPath) -> dict[str, object]:
    """Validate ``given`` strictly against a plug-in's own dataclass, and fill in the defaults."""
    known = [field.name for field in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known, f"known: {', '.join(known) or 'no settings'}")
            raise source.error((*path, key), "unknown key", hint)
    has_required = dataclasses.MISSING in {field.default for field in dataclasses.fields(kind)}
    checked = given or has_required  # defaults alone need no check, and making a checker takes a millisecond
    try:
        # JSON mode is strict about numbers and flags, and still builds a dataclass from a mapping.
        made = _adapter(kind).validate_json(json.dumps(given), strict=True) if checked else kind()
    except ValidationError as bad:
        raise _refusal(source, kind, bad.errors(include_url=False)[0], path) from None
    except ValueError as bad:  # of the defaults, where one of several settings must be given
        raise source.error(path, str(bad)) from None
    return {name: getattr(made, name) for name in known}


def _refusal(source: YamlSource, kind: Any, wrong: ErrorDetails, path: KeyPath) -> ConfigError:
    """Return the error of one setting, at the innermost key that is in the file: a setting may be a block.

    A block within the settings that refuses its values names the key first, so the error is at its line.
    """
    place = (*path, *wrong["loc"][:1])
    for part in wrong["loc"][1:]:
        if isinstance(part, str) and (*place, part) in source.lines:
            place = (*place, part)
    if wrong["type"] == "unexpected_keyword_argument":
        known = [field.name for field in dataclasses.fields(_block_in(kind, wrong["loc"][:-1]))]
        hint = did_you_mean(str(wrong["loc"][-1]), known, f"known: {', '.join(known)}")
        return source.error(place, "unknown key", hint)
    problem, hint = explain(wrong)
    inner = (*place, problem.partition(" ")[0])
    at_block = wrong["type"] == "value_error" and bool(wrong["loc"]) and inner in source.lines
    return source.error(inner if at_block else place, problem, hint)


def _block_in(kind: Any, keys: Sequence[str | int]) -> Any:
    """Return the dataclass of a block within the settings, such as that of ``link``."""
    for key in keys:
        said = typing.get_type_hints(kind).get(str(key))
        kinds = [one for one in (said, *typing.get_args(said)) if dataclasses.is_dataclass(one)]
        kind = kinds[0] if kinds else kind
    return kind


def explain(wrong: ErrorDetails, kind: type[Block] | None = None) -> tuple[str, str]:
    """Return (problem, hint) for one error that pydantic found in a block or in a scheme's settings."""
    message = wrong["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if wrong["type"] == "value_error":
        return message, ""
    if wrong["type"] == "string_pattern_mismatch" and kind is not None:
        message = f"should be one of {kind.model_fields[str(wrong['loc'][0])].description}"
    choices = re.findall("'([^']+)'", message) if wrong["type"] == "literal_error" else []
    return f"{message}, not {wrong['input']!r:.60}", did_you_mean(str(wrong["input"]), choices)
