"""The settings of a plug-in: what a config gives, checked against the plug-in's own dataclass."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.config.spec import explain
from bench.formatting import did_you_mean
from bench.yaml_source import KeyPath, YamlSource


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
        wrong = bad.errors(include_url=False)[0]
        raise source.error((*path, *wrong["loc"][:1]), *explain(wrong)) from None
    return {name: getattr(made, name) for name in known}
