"""The JSON Schema for editors: it accepts what the checker accepts, and marks a typo where one is typed."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bench import plugins
from bench.config.json_schema import json_schema
from bench.config.reader import FILE_KEYS
from bench.config.settings import WorkloadBlock
from bench.metrics import all_metrics
from bench.optimisations import verbs

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"


def complaints(config: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(config)]


def demo(**more: object) -> dict[str, Any]:
    return {"model": "smollm2-135m", **more}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_fits(path: Path) -> None:
    assert complaints(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_typo_in_any_key_of_a_shipped_config_does_not(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    for place in places(config):
        if "args" in place[:-1]:  # the keys of an engine's command line are its own
            continue
        broken = copy.deepcopy(config)
        if place[0] == "variants" and len(place) > 1:  # the other variants are sound, and take their time
            broken["variants"] = [broken["variants"][place[1]]]
            place = ("variants", 0, *place[2:])
        target = broken
        for part in place[:-1]:
            target = target[part]
        target[f"{place[-1]}_x"] = target.pop(place[-1])
        assert not VALIDATOR.is_valid(broken), place


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key."""
    if isinstance(value, dict):
        below = [path for key, inner in value.items() for path in places(inner, (*here, key))]
        return [*((*here, key) for key in value), *below]
    if isinstance(value, list):
        return [path for index, inner in enumerate(value) for path in places(inner, (*here, index))]
    return []


def test_every_key_of_the_file_and_every_metric_is_in_it() -> None:
    assert set(FILE_KEYS) | {"optimize"} == set(SCHEMA["properties"])
    assert set(all_metrics()) == set(SCHEMA["properties"]["gate"]["properties"])


def test_the_keys_of_a_workload_are_those_of_the_file() -> None:
    """With those that a kind has of its own, as a package of somebody else may bring."""

    @dataclass(frozen=True)
    class Params:
        largest: int = 99

    keys = set(SCHEMA["properties"]["workload"]["properties"])
    kinds = [module.Params for _name, module in plugins.each("workloads") if hasattr(module, "Params")]
    own = {field.name for params in kinds for field in fields(params)}
    assert {"users", "rate"} <= own
    assert keys == (set(WorkloadBlock.model_fields) - {"own"}) | own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins.load("workloads", "fixed"), "Params", Params, raising=False)
        schema = json_schema()
    assert set(schema["properties"]["workload"]["properties"]) == {*keys, "largest"}
    assert schema["properties"]["workload"]["properties"]["largest"]["type"] == "integer"


def test_suites_statistics_and_probes_are_offered_by_name() -> None:
    drift = SCHEMA["properties"]["drift"]["properties"]
    assert drift["suites"]["examples"] == list(plugins.names("drift.suites"))
    assert drift["statistics"]["examples"] == list(plugins.names("drift.statistics"))
    probes = SCHEMA["properties"]["measure"]["properties"]["probes"]
    assert probes["examples"] == list(plugins.names("probes"))


def test_every_scheme_is_in_it_in_each_spelling_with_its_settings() -> None:
    forms = SCHEMA["properties"]["optimise"]["items"]["oneOf"]
    found = {
        (verb, form["properties"][verb]["const"])
        for form in forms
        for verb in form["required"]
        if "const" in form["properties"][verb]
    }
    for verb in verbs():
        for name in plugins.names(f"optimisations.{verb}"):
            assert (verb, name) in found
    assert ("quantize", "bnb-nf4") in found
    assert ("quantization", "bnb-nf4") in found
    (nf4,) = [form for form in forms if form["properties"].get("quantise", {}).get("const") == "bnb-nf4"]
    assert nf4["properties"]["block_size"] == {
        "default": 64, "enum": [64, 128, 256, 512], "title": "Block Size", "type": "integer",
    }  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        demo(),
        demo(optimize=[{"quantize": "bnb-nf4"}]),
        demo(optimise=[{"prune": "magnitude", "sparsity": 0.3}, {"quantization": "bnb-int8"}]),
        demo(model={"hub": "Qwen/Qwen3-0.6B", "revision": COMMIT}),
        demo(model={"path": "somewhere"}),
        demo(model={"random": "tiny-llama", "layers": 2}),
        demo(model={"random": "deepseek-r1", "layers": None, "hidden": 256, "experts": 16}),
        demo(runtime={"threads": None, "device": "cuda:1"}),
        demo(drift={"text": "my/own.txt", "suites": [], "statistics": ["jensen-shannon"]}),
        demo(measure={"probes": ["page-faults"]}),
        demo(gate={"kld_mean": {"max": 0}, "e2el_ms": {"max_increase": "3%"}}),
        demo(sweep={"batch_size": [1, 2], "dtype": ["float32"]}),
        demo(variants=[{"name": "a", "optimise": []}]),
        demo(optimise=[{"split": "layers", "link": {"round_trip_ms": 5, "outage": {"after_s": 1}}}]),
    ],
)  # fmt: skip
def test_what_fits(config: dict[str, Any]) -> None:
    assert complaints(config) == []


@pytest.mark.parametrize(
    "config",
    [
        {},
        [],
        {"name": "no model"},
        demo(variant=[]),
        demo(variants=[{}]),
        demo(variants=[{"name": ""}]),
        demo(variants=[{"name": "a", "price": {}}]),
        demo(model={"hub": "Qwen/Qwen3-0.6B", "revision": "main"}),
        demo(model={"hub": "Qwen/Qwen3-0.6B"}),
        demo(model={"random": "tiny-llama", "layers": 0}),
        demo(model={"random": "tiny-llama", "hidden": 250}),
        demo(model={"random": "tiny-llama", "experts": 1}),
        demo(model={"path": "x", "hidden": 64}),
        demo(model={"hub": "a/b", "path": "c"}),
        demo(runtime={"dtype": "int8"}),
        demo(runtime={"device": "tpu"}),
        demo(workload={"requests": "8"}),
        demo(workload={"requests": 0}),
        demo(workload={"output_tokens": 1}),
        demo(optimise=[{"quantise": "os.system"}]),
        demo(optimise=[{"quantise": "bnb-nf4", "block_size": 63}]),
        demo(optimise=[{"quantise": "bnb-nf4", "prune": "magnitude"}]),
        demo(optimise={"quantise": "bnb-nf4"}),
        demo(price={"usd_per_hour": 0}),
        demo(optimise=[{"split": "layers", "link": {"round_trip": 5}}]),
        demo(optimise=[{"split": "layers", "link": {"outage": {"from_s": 1}}}]),
        demo(gate={"kld_men": {"max": 1}}),
        demo(workload={"own": []}),
        demo(drift={"statistics": "jensen-shannon"}),
        demo(measure={"probe": []}),
        demo(gate={"kld_mean": {"maximum": 1}}),
        demo(sweep={"batch_size": 4}),
        demo(sweep={"batch_size": []}),
        demo(sweep={"batch_size": [0]}),
        demo(sweep={"name": ["a"]}),
    ],
)  # fmt: skip
def test_what_does_not(config: object) -> None:
    assert complaints(config)
