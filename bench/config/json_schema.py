"""Make the JSON Schema of a config from the blocks that check it and from all schemes.

The schema is for editors: ``bench check`` may still refuse what it accepts, because it also knows this
machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from pydantic import TypeAdapter

from bench import plugins
from bench.config.reader import FILE_KEYS
from bench.config.settings import (
    Block,
    BuildBlock,
    DriftBlock,
    EnergyBlock,
    LimitBlock,
    MeasureBlock,
    PriceBlock,
    RuntimeBlock,
    SloBlock,
    WorkloadBlock,
)
from bench.config.sweep import WHOLE
from bench.config.variants import ARM_KEYS, MOST_LETTERS
from bench.metrics import all_metrics
from bench.models.registry import all_models
from bench.models.shrink import ALLOWED
from bench.optimisations import routes, spellings, verbs
from bench.pricing.book import whole_book

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
STEP = {"$ref": "#/properties/optimise/items"}  # one of the steps of an arm, as the file has them


def json_schema() -> Schema:
    """Return the JSON Schema 2020-12 of the whole file, which allows no other keys at any depth."""
    name: Schema = {"type": "string", "minLength": 1}
    arm = _arm_keys()
    variant = _variant(name, arm)
    properties = {
        "name": {**name, "maxLength": 200},
        **arm,
        "variants": {"type": "array", "items": variant, "description": "what differs from the file"},
        "price": _of(PriceBlock, hardware=list(whole_book()[0])),
        "slo": _of(SloBlock),
        "energy": _of(EnergyBlock),
        "drift": _of(
            DriftBlock,
            text=list(plugins.names("texts")),
            suites=list(plugins.names("drift.suites")),
            statistics=list(plugins.names("drift.statistics")),
        ),
        "measure": _of(MeasureBlock, probes=list(plugins.names("probes"))),
        "gate": _block({key: _limit(metric.description) for key, metric in all_metrics().items()}),
        "sweep": _sweep(arm),
        "build": _of(BuildBlock),
    }
    assert set(FILE_KEYS) == set(properties), "a key of the file has no schema"
    whole = _block(properties, required=["model"])
    return {"$schema": DIALECT, "title": "a config of inference-cost-bench", **whole}


def _variant(name: Schema, arm: Mapping[str, Schema]) -> Schema:
    """Describe a variant: it has a name, or a sweep that names its rows, or both."""
    found = _block({"name": {**name, "maxLength": MOST_LETTERS}, **arm, "sweep": _sweep(arm, _of_schemes())})
    return {**found, "anyOf": [{"required": ["name"]}, {"required": ["sweep"]}]}


def _arm_keys() -> Schema:
    """Return the keys that the file and each variant have in common."""
    keys = {
        "model": _model(),
        "runtime": _with_own_keys(RuntimeBlock, "runtimes"),
        "workload": _with_own_keys(WorkloadBlock, "workloads"),
        "optimise": {
            "type": "array",
            "description": "done to the model in this order",
            "items": {"oneOf": list(_steps())},
        },
    }
    assert set(keys) == set(ARM_KEYS), "a key of an arm has no schema"
    return keys


def _block(properties: Mapping[str, Schema], required: list[str] | None = None) -> Schema:
    """Describe an object with these keys and no others.

    Each key is allowed in all its spellings; required keys have one spelling.
    """
    spelled = dict(properties)
    for other, ours in spellings().items():
        if ours in properties:
            spelled[other] = properties[ours]
    needs = {"required": required} if required else {}
    return {"type": "object", "properties": spelled, "additionalProperties": False, **needs}


def _of(kind: type[Block], **examples: list[str]) -> Schema:
    """Return a block as pydantic describes it, with the names known here as examples."""
    found = _inlined(kind.model_json_schema())
    for key, names in examples.items():
        found["properties"][key]["examples"] = names
    return found


def _with_own_keys(block: type[Block], kind: str) -> Schema:
    """Describe the keys that every plug-in of a kind has, and those that only one of them has."""
    found = _of(block, name=list(plugins.names(kind)))
    for _name, module in plugins.each(kind):
        if (params := getattr(module, "Params", None)) is not None:
            found["properties"] |= TypeAdapter(params).json_schema().get("properties", {})
    del found["properties"]["own"]
    return found


def _limit(description: str) -> Schema:
    found = LimitBlock.model_json_schema()
    return {**found, "description": description} if description else found


def _model() -> Schema:
    names = [model.name for model in all_models()]
    text: Schema = {"type": "string"}
    forms = (
        {**text, "examples": names, "description": "a file in models/"},
        _block({"hub": text, "revision": {**text, "pattern": "^[0-9a-f]{40}$"}}, ["hub", "revision"]),
        _block({"path": text}, ["path"]),
        _block(
            {"random": {**text, "examples": names}, **{key: _size(some) for key, some in ALLOWED.items()}},
            ["random"],
        ),
    )
    return {"oneOf": list(forms)}


def _size(allowed: range) -> Schema:
    number = {"type": "integer", "minimum": allowed[0], "maximum": allowed[-1], "multipleOf": allowed.step}
    return {"anyOf": [number, {"type": "null"}]}


def _steps() -> Iterator[Schema]:
    """Yield a form for each scheme and each spelling of its verb."""
    for verb in verbs():
        spelled = (verb, *(other for other, ours in spellings().items() if ours == verb))
        for name, module in plugins.each(f"optimisations.{verb}"):
            params = _params_of(module)
            if routes(verb):
                params["properties"]["edge"]["properties"]["optimise"]["items"] = STEP
            for spelling in spelled:
                chosen = {spelling: {"const": name, "description": plugins.describe(module)}}
                yield {
                    "type": "object",
                    "properties": {**chosen, **params.get("properties", {})},
                    "required": [spelling, *params.get("required", [])],
                    "additionalProperties": False,
                }


def _params_of(scheme: ModuleType) -> Schema:
    """Describe the settings of a scheme."""
    return _inlined(TypeAdapter(scheme.Params).json_schema())


def _inlined(found: Schema) -> Schema:
    """Put the description of each block in the place where it is used: a step's settings may be blocks."""
    blocks = found.pop("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(one) for one in part]
        if not isinstance(part, dict):
            return part
        named = blocks.get(str(part.get("$ref", "")).removeprefix("#/$defs/"), {})
        return {key: whole(value) for key, value in {**named, **part}.items() if key != "$ref"}

    return {key: whole(value) for key, value in found.items()}


def _of_schemes() -> dict[str, Schema]:
    """Describe each key of a step: the schemes of a kind, and the settings that any scheme has."""
    found: dict[str, list[Schema]] = {}
    for verb in verbs():
        found[verb] = [{"enum": list(plugins.names(f"optimisations.{verb}"))}]
        for _name, module in plugins.each(f"optimisations.{verb}"):
            for key, setting in _params_of(module).get("properties", {}).items():
                known = found.setdefault(key, [])
                known += [] if setting in known else [setting]
    return {key: {"anyOf": forms} for key, forms in found.items()}


def _sweep(arm: Mapping[str, Schema], of_steps: Mapping[str, Schema] = MappingProxyType({})) -> Schema:
    """Describe a list of values for every key of ``runtime`` and ``workload`` except their names, or a list
    of whole workloads; in a variant, also for the keys of its steps."""
    fields = {**arm["runtime"]["properties"], **arm["workload"]["properties"], WHOLE: arm["workload"]}
    del fields["name"]
    for key, form in of_steps.items():
        fields[key] = {"anyOf": [fields[key], form]} if key in fields else form
    lists = {
        key: {"type": "array", "minItems": 1, "uniqueItems": True, "items": form}
        for key, form in fields.items()
    }
    return _block(lists)
