"""Check the settings that a config gives to a plug-in against the plug-in's own dataclass."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from bench.config.settings import Block
from bench.errors import ConfigError
from bench.formatting import did_you_mean
from bench.yaml_source import KeyPath, YamlSource

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_INTEGER = 2**63 - 1
# Words that YAML 1.1 took for true and false, and YAML 1.2 takes for text.
OLD_WORDS = ("yes", "no", "on", "off", "y", "n")
PLAIN = {
    "a valid boolean": "true or false", "a valid tuple": "a list", "a valid dictionary": "a block of keys",
    "an object": "a block of keys",
}  # fmt: skip


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def settings(source: YamlSource, kind: Any, given: Mapping[str, Any], path: KeyPath) -> dict[str, object]:
    """Validate ``given`` strictly against a plug-in's own dataclass, and fill in the defaults."""
    known = [field.name for field in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known, f"known: {', '.join(known) or 'no settings'}")
            raise source.error((*path, key), "unknown key", hint)
        _must_fit(source, given[key], (*path, key))
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


def _must_fit(source: YamlSource, value: object, path: KeyPath) -> None:
    """Raise ConfigError for a whole number that a journal could not hold, at any depth of the settings."""
    if isinstance(value, dict | list):
        parts = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, inner in parts:
            _must_fit(source, inner, (*path, key))
    elif isinstance(value, int) and abs(value) > MOST_INTEGER:
        raise source.error(path, "a whole number must be within ±2^63")


def _refusal(source: YamlSource, kind: Any, wrong: ErrorDetails, path: KeyPath) -> ConfigError:
    """Return the error of one setting, at the innermost key that is in the file: a setting may be a block.

    A block within the settings that refuses its values names the key first, so the error is at its line.
    """
    place = (*path, *wrong["loc"][:1])
    for part in wrong["loc"][1:]:
        if isinstance(part, str) and (*place, part) in source.lines:
            place = (*place, part)
    if wrong["type"] == "missing":
        place = (*path, *wrong["loc"])
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
    if wrong["type"] == "missing":
        return "is missing", ""
    shown = _shown(wrong["input"])
    for jargon, plain in PLAIN.items():
        message = message.replace(jargon, plain)
    if hint := _number_as_written(wrong) or _path_as_written(wrong):
        return f"{message}, not {shown}", hint
    if wrong["type"].startswith("bool") and str(wrong["input"]).lower() in OLD_WORDS:
        return f"{message}, not {shown}", "write true or false"
    if message == "should be a list" and isinstance(wrong["input"], str):
        return f"{message}, not {shown}", f"write [{wrong['input']:.60}]"
    if wrong["type"] == "string_pattern_mismatch" and kind is not None:
        message = f"should be one of {kind.model_fields[str(wrong['loc'][0])].description}"
    choices = re.findall("'([^']+)'", message) if wrong["type"] == "literal_error" else []
    return f"{message}, not {shown}", did_you_mean(str(wrong["input"]), choices)


def _number_as_written(wrong: ErrorDetails) -> str:
    """Return a hint for a number that YAML 1.2 takes for text (``012``, ``1_000``), or for a fraction
    (``1e3``); empty for anything else."""
    value = wrong["input"]
    if wrong["type"] == "int_type" and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"write {int(value)}"
    if wrong["type"] in ("int_type", "float_type") and isinstance(value, str):
        return f"write {int(value)}" if re.fullmatch(r"[-+]?[0-9]{1,15}(_[0-9]{1,15}){0,3}", value) else ""
    return ""


def _path_as_written(wrong: ErrorDetails) -> str:
    """Return a hint for a setting that names a model by text, where the form of a row's model was written
    (``{path: DIRECTORY}``); empty for anything else."""
    value = wrong["input"]
    if wrong["type"] != "string_type" or not isinstance(value, dict) or value.keys() != {"path"}:
        return ""
    path = str(value["path"])
    return f"write {path if '/' in path else f'./{path}'}"


def _shown(value: object) -> str:
    """Return a value as the YAML has it (``true``, ``null``, ``[6]``), at most 60 letters of it."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:60]
