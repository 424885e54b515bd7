"""Check rows that are servers: refuse keys that do nothing for them or exclude each other, and missing
ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from bench import plugins
from bench.config.settings import Block, RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm, Group, Optimisation
from bench.config.steps import engines_of
from bench.config.support import device_here, missing, no_interpreter
from bench.errors import UsageError
from bench.models.gguf_format import is_gguf
from bench.models.reference import LocalPath, ModelRef, Named, Random
from bench.models.registry import FindModel
from bench.runtimes._server import arguments, dashed
from bench.serving.address import Address, address, key_of
from bench.serving.engines import ADAPTERS
from bench.serving.environments import interpreter_for
from bench.yaml_source import KeyPath, YamlSource, blaming

# The argument of each engine that bounds prompt and reply together.
CONTEXT = {
    "vllm": "max-model-len",
    "vllm-offline": "max-model-len",
    "sglang": "context-length",
    "llama-cpp-server": "ctx-size",
}
USUAL_SLOTS = 4  # of llama.cpp's server, which share its context


def is_server(runtime: RuntimeBlock) -> bool:
    """Return whether the engine is a server, which is put under load."""
    return bool(getattr(plugins.load("runtimes", runtime.name), "SERVER", False))


def serves(groups: Iterable[Group]) -> bool:
    """Return whether the baselines of a config are servers; its other rows are then servers too."""
    return any(is_server(group.baseline.runtime) for group in groups)


def is_load(workload: WorkloadBlock) -> bool:
    """Return whether a workload is one for servers."""
    return bool(getattr(plugins.load("workloads", workload.name), "LOAD", False))


def idle_key(named: ModuleType, given: object, block: type[Block]) -> str | None:
    """Return a common key of a block that is given and that this plug-in does not use; None without one.

    A default may stand there, as in the full config that a run writes.
    """
    uses, fields = getattr(named, "USES", None), block.model_fields
    if uses is None or not isinstance(given, dict):
        return None
    idle = (key for key in given if key in fields and key not in uses)
    return next((key for key in idle if given[key] != fields[key].default), None)


def misfit(runtime: RuntimeBlock, workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (problem, hint) for a server without a load, or a load without a server; else None."""
    kinds = [name for name, module in plugins.each("workloads") if getattr(module, "LOAD", False)]
    if is_server(runtime) and not is_load(workload):
        return f"{runtime.name} is a server, and {workload.name!r} is no load", f"one of {', '.join(kinds)}"
    if is_load(workload) and not is_server(runtime):
        engines = [name for name, module in plugins.each("runtimes") if getattr(module, "SERVER", False)]
        problem = f"{workload.name!r} is a load for a server, and {runtime.name} is none"
        return problem, f"one of {', '.join(engines)} as runtime"
    return None


def check_server(
    source: YamlSource,
    runtime: RuntimeBlock,
    workload: WorkloadBlock,
    model: ModelRef,
    place: Mapping[str, KeyPath],
    find: FindModel,
) -> None:
    """Refuse what a server cannot serve, an address that cannot be used, and a key that is not there.

    ``place`` says where ``runtime``, ``model`` and ``url`` stand. Raises ConfigError.
    """
    own = dict(runtime.own)
    if isinstance(model, Random):
        raise source.error(place["model"], "a server needs a model's own weights, not random ones")
    if runtime.name not in ADAPTERS:
        with blaming(source, place["url"]):
            server = address(str(own["url"]))
        with blaming(source, place["key_env"]):
            key_of(_text(own["key_env"]), server)
        return
    if plugins.load("runtimes", runtime.name).GGUF and not _has_gguf(model, find):
        problem = f"{runtime.name} needs a GGUF file, and this model has none"
        raise source.error(place["model"], problem, "give {path: FILE.gguf}")
    if problem := ADAPTERS[runtime.name].wrong(arguments(_args(runtime))) or too_long(runtime, workload):
        raise source.error(place["args"], problem)


def address_of(runtime: RuntimeBlock) -> Address | None:
    """Return the address of a server that is there already; None for an engine that is started here."""
    there = is_server(runtime) and runtime.name not in ADAPTERS
    return address(str(dict(runtime.own)["url"])) if there else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _has_gguf(model: ModelRef, find: FindModel) -> bool:
    if isinstance(model, LocalPath):
        return is_gguf(model.path)
    source = find(model.name).source if isinstance(model, Named) else None
    return source is not None and source.package is not None and source.package.is_gguf


def too_long(runtime: RuntimeBlock, workload: WorkloadBlock) -> str:
    """Say that requests do not fit the context that the server is started with; '' if they do."""
    args = {dashed(name): value for name, value in _args(runtime).items()}
    bound = CONTEXT.get(runtime.name)
    room = args.get(bound) if bound else None
    if type(room) is not int:
        return ""
    slots = args.get("parallel", USUAL_SLOTS) if runtime.name == "llama-cpp-server" else 1
    each, wanted = room // int(slots), _longest(workload)
    shared = f", shared by {slots} slots" if slots != 1 else ""
    return f"{bound} is {room}{shared}, and a request has {wanted} tokens" if wanted > each else ""


def _longest(workload: WorkloadBlock) -> int:
    """Return the tokens of the longest request, prompt and reply together."""
    kind = plugins.load("workloads", workload.name)
    if not hasattr(kind, "plan"):  # a search, whose requests are all alike
        return (workload.input_tokens or 0) + workload.output_tokens
    most: int = max(sum(one) for one in kind.plan(workload, 0).lengths)
    return most


def _args(runtime: RuntimeBlock) -> Mapping[str, Any]:
    found: Any = dict(runtime.own).get("args") or {}
    return found if isinstance(found, Mapping) else {}


def _instead(runtime: RuntimeBlock, step: Optimisation) -> str:
    if step.scheme.startswith("gguf") and getattr(plugins.load("runtimes", runtime.name), "GGUF", False):
        return "give the variant a GGUF file of this type, model: {path: FILE.gguf}"
    return "give a server its own settings under runtime.args"


def why_not_here(
    source: YamlSource, runtime: RuntimeBlock, steps: Sequence[Optimisation], steps_path: KeyPath
) -> str | None:
    """Return why a server cannot be measured here, with the command that installs it; None if it can.

    Raises ConfigError for a step: what is done to a model in process reaches no server.
    """
    for step in steps:
        engines = engines_of(plugins.load(f"optimisations.{step.verb}", step.scheme))
        if runtime.name not in engines:
            problem = f"{step.verb} {step.scheme} is for runtime {' or '.join(engines)}, not {runtime.name}"
            raise source.error(steps_path, problem, _instead(runtime, step))
    if reason := missing(plugins.load("runtimes", runtime.name)):
        return reason
    if runtime.name not in ADAPTERS:
        return None
    if runtime.python is not None:
        return no_interpreter(runtime.python)
    try:
        interpreter_for(ADAPTERS[runtime.name], None)
    except UsageError as absent:
        return str(absent)
    return None


def check_together(source: YamlSource, baseline: Arm, variant: Arm, path: KeyPath) -> None:
    """Refuse a variant that cannot be measured beside its baseline: one of them is no server, or both want
    the same port."""
    if is_server(baseline.runtime) != is_server(variant.runtime):
        served, other = (baseline, variant) if is_server(baseline.runtime) else (variant, baseline)
        problem = f"{served.name} is a server and {other.name} is none: nothing can be compared"
        raise source.error(path, problem, "give both a server, or neither")
    ports = [dict(arm.runtime.own).get("port") for arm in (baseline, variant)]
    if ports[0] is not None and ports[0] == ports[1]:
        problem = f"port {ports[0]} is the baseline's too, and both servers run at the same time"
        raise source.error(path, problem, "give another one, or none")


def on_gpu(runtime: RuntimeBlock) -> bool:
    """Return whether a server that is started here would be on a GPU."""
    return device_here(runtime.device) == "cuda" and runtime.name != "llama-cpp-server"
