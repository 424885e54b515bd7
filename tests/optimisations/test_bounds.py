"""Every number that a scheme, a workload or an engine may be told has a bound."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

import pytest
from pydantic import TypeAdapter, ValidationError

from bench import plugins
from bench.optimisations import verbs

# Numbers of layers, heads and experts, which are checked against the model's shape by the scheme's `refuse`.
OF_THE_MODEL = ("keep_layers", "keep_heads", "keep_experts", "edge_layers", "layers")
# More than any time, any number of tokens and any share; a journal holds it.
HUGE = {int: 10**12, float: 1e300}
NEEDED = {
    "edge": {"model": "m", "usd_per_hour": 0.1},
    "model": "m",
    "url": "http://x",
    "command": ("x",),
    "users": 1,
}


def numbers() -> Iterator[tuple[str, str, str, int | float]]:
    """Yield the family, the plug-in and the name of each setting that takes a number, and a huge number."""
    for family in (*(f"optimisations.{verb}" for verb in verbs()), "workloads", "runtimes"):
        for name in plugins.names(family):
            kind = getattr(plugins.load(family, name), "Params", None)
            hints = typing.get_type_hints(kind) if kind else {}
            for field in dataclasses.fields(kind) if kind else ():
                kinds = {hints[field.name], *typing.get_args(hints[field.name])}
                huge = next((HUGE[one] for one in (float, int) if one in kinds), None)
                if huge is not None and field.name not in (*OF_THE_MODEL, "seed"):
                    yield family, name, field.name, huge


@pytest.mark.parametrize(("family", "name", "key", "huge"), list(numbers()))
def test_a_huge_number_is_refused(family: str, name: str, key: str, huge: float) -> None:
    kind = plugins.load(family, name).Params
    needed = {one.name: NEEDED.get(one.name, 0.5) for one in dataclasses.fields(kind) if _is_needed(one)}
    with pytest.raises(ValidationError, match=key):
        TypeAdapter(kind).validate_python({**needed, key: huge})


def _is_needed(field: dataclasses.Field[object]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
