"""Check the parts of an arm that need more than a type check: its model, its optimisations, this machine."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from bench import plugins
from bench.config.settings import settings
from bench.config.spec import Dtype, Optimisation, RuntimeBlock
from bench.environments import interpreter, missing_environment
from bench.errors import UsageError
from bench.formatting import did_you_mean
from bench.machine import gpus
from bench.machine.devices import cuda_device_count
from bench.models.checks import check_directory
from bench.models.gguf_parts import check_model
from bench.models.lora import is_adapter, read_adapter
from bench.models.reference import Hub, LocalPath, ModelRef, Named, Random, is_commit
from bench.models.registry import FindModel, find_model
from bench.models.shrink import ALLOWED, why_not
from bench.optimisations import routes, verbs
from bench.optimisations.shared.calibration import CalibrationParams
from bench.texts import check_text
from bench.yaml_source import KeyPath, YamlSource

MAX_CELLS = 1000
WHOLE = "workload"  # a key of a sweep whose values are blocks
HOME_ENGINE = "transformers"  # the engine of a scheme that names no other
READY_STUDENT = {"distil": "none"}
REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
MODEL_FORMS = ({"hub", "revision"}, {"path"}, {"random", *ALLOWED})
EXTRAS = {
    "bitsandbytes": "bitsandbytes",
    "hqq": "hqq",
    "httptools": "serving",
    "llmcompressor": "llmcompressor",
    "optimum.quanto": "quanto",
    "torch": "transformers",
    "torchao": "torchao",
    "transformers": "transformers",
}


@contextmanager
def blaming(source: YamlSource, path: KeyPath, what: str = "") -> Iterator[None]:
    """Turn a UsageError inside, or a file that cannot be read, into a ConfigError at ``path``."""
    try:
        yield
    except UsageError as refused:
        raise source.error(path, str(refused)) from None
    except (OSError, UnicodeDecodeError) as bad:
        reason = getattr(bad, "strerror", None) or f"not UTF-8: {bad}"
        raise source.error(path, f"{what[:60]!r} cannot be read ({reason})") from None


def read_model(source: YamlSource, raw: object, path: KeyPath, find: FindModel) -> ModelRef:
    """Read a model: a name, {hub, revision}, {path}, or {random} and a size. Raises ConfigError."""
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
        if place.suffix == ".gguf" and not place.is_dir():
            check_model(place)
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


def _known_model(source: YamlSource, name: str, path: KeyPath, find: FindModel, *, random: bool) -> str:
    with blaming(source, path):
        if reason := find(name).why_not(random=random):
            raise UsageError(reason)
    return name


def cells(
    source: YamlSource, sweep: object, homes: Mapping[str, str]
) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Return (label, overlay) of every combination in ``sweep``; ``homes`` gives the block of each key."""
    if not isinstance(sweep, dict):
        raise source.error(("sweep",), "must be a block of lists, such as {batch_size: [1, 4, 8]}")
    count = 1
    for key, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise source.error(("sweep", key), "must be a list with at least one value")
        if key == WHOLE and not all(isinstance(value, dict) and value for value in values):
            raise source.error(("sweep", key), "must be a list of blocks, such as [{name: offline}]")
        if len({str(value) for value in values}) < len(values):
            raise source.error(("sweep", key), "a value is given twice", "keep one of them")
        count *= len(values)
    if count > MAX_CELLS:
        raise source.error(("sweep",), f"{count} combinations are over the limit of {MAX_CELLS}")
    found = []
    for combination in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, combination, strict=True))
        overlay: dict[str, dict[str, Any]] = {}
        for key, value in chosen.items():
            overlay.setdefault(homes[key], {}).update(value if key == WHOLE else {key: value})
        found.append((" ".join(_label(key, value) for key, value in chosen.items()), overlay))
    return found


def _label(key: str, value: object) -> str:
    """Return what names a cell: ``users=4``, or a workload by its own name and settings."""
    if key != WHOLE or not isinstance(value, dict):
        return f"{key}={value}"
    return " ".join(str(one) if name == "name" else f"{name}={one}" for name, one in value.items())


def optimisations(
    source: YamlSource, raw: object, path: KeyPath, engine: str = HOME_ENGINE
) -> tuple[Optimisation, ...]:
    """Return the steps of ``optimise`` in order, with each scheme found by name and its settings validated.

    ``{distil: none}`` means that the variant's own model is a finished student; it makes no step. The message
    about an unknown scheme suggests a scheme for ``engine``.
    """
    if not isinstance(raw, list):
        raise source.error(path, "must be a list of steps", "e.g. [{quantise: bnb-nf4}]")
    return tuple(
        _step(source, step, (*path, index), engine) for index, step in enumerate(raw) if step != READY_STUDENT
    )


def _step(source: YamlSource, raw: object, path: KeyPath, engine: str) -> Optimisation:
    named = [key for key in raw if key in verbs()] if isinstance(raw, dict) else []
    if len(named) > 1:
        raise source.error(path, f"{' and '.join(named)} are steps of their own", "split them")
    if not isinstance(raw, dict) or len(named) != 1:
        word = str(next(iter(raw), "")) if isinstance(raw, dict) else ""
        hint = did_you_mean(word, verbs(), f"one of {', '.join(verbs())}")
        raise source.error(path, "a step names one kind of optimisation", hint)
    verb = named[0]
    with blaming(source, (*path, verb)):
        name, known = str(raw[verb]), f"optimisations.{verb}"
        scheme = plugins.load(known, name, lambda module: engine in engines_of(module))
    given = {key: value for key, value in raw.items() if key != verb}
    params = settings(source, scheme.Params, given, path)
    if hasattr(scheme, "check_settings"):
        with blaming(source, path):
            scheme.check_settings(scheme.Params(**params))
    if issubclass(scheme.Params, CalibrationParams):
        with blaming(source, (*path, "text")):
            check_text(str(params["text"]))
    for key in getattr(scheme, "MODELS", ()):
        called = str(params[key])
        read_model(source, {"path": called} if "/" in called else called, (*path, key), find_model)
    if routes(verb):
        params["edge"] = _edge(source, params["edge"], (*path, "edge"), engine)
    return Optimisation(verb, str(raw[verb]), tuple(sorted(params.items())))


def _edge(source: YamlSource, edge: Any, path: KeyPath, engine: str) -> Any:
    """Return the edge model of a cascade with the steps done to it, after a look at what it names."""
    called = edge.model
    read_model(source, {"path": called} if "/" in called else called, (*path, "model"), find_model)
    steps = optimisations(source, list(edge.optimise), (*path, "optimise"), engine)
    return dataclasses.replace(edge, optimise=steps)


def engines_of(scheme: ModuleType) -> tuple[str, ...]:
    """Return the engines that a scheme is for."""
    engines: tuple[str, ...] = getattr(scheme, "RUNTIMES", (HOME_ENGINE,))
    return engines


def why_unsupported(
    source: YamlSource,
    runtime: RuntimeBlock,
    steps: Sequence[Optimisation],
    device_path: KeyPath,
    steps_path: KeyPath,
    *,
    is_baseline: bool,
) -> str | None:
    """Return why this arm cannot run here, so that it becomes a row with its reason; None if it can.

    Raises ConfigError for a mistake: a scheme of another engine, or one that would run here in another dtype,
    and in this one nowhere. It also raises for a baseline on a device that is not there or has no kernels,
    asked for by name: nothing could be compared. In a sweep over devices or dtypes all of these are rows.
    """
    swept = any(("sweep", key) in source.lines for key in ("device", "dtype"))
    needed = is_baseline and not swept
    absent = _no_device(runtime.device)
    if absent and needed:
        raise source.error(device_path, absent)
    if runtime.python is not None:
        return absent or no_interpreter(runtime.python)
    schemes = [plugins.load(f"optimisations.{step.verb}", step.scheme) for step in steps]
    for step, module in zip(steps, schemes, strict=True):
        engines = engines_of(module)
        if runtime.name not in engines:
            problem = f"{step.verb} {step.scheme} is for runtime {' or '.join(engines)}, not {runtime.name}"
            raise source.error(steps_path, problem)
    if absent:
        return absent
    if interpreter(runtime.name, None) is not None and (reason := missing_environment(runtime.name)):
        return reason
    if interpreter(runtime.name, None) is None:
        for module in (plugins.load("runtimes", runtime.name), *schemes):
            if reason := missing(module):
                return reason
    for module in schemes:
        device = device_here(runtime.device)
        reason = module.unsupported(device, runtime.dtype)
        nowhere = all(module.unsupported(one, runtime.dtype) for one in ("cpu", "cuda"))
        mistaken = nowhere and not all(module.unsupported(device, dtype) for dtype in get_args(Dtype))
        if reason and not swept and (mistaken or (needed and runtime.device != "auto")):
            raise source.error(steps_path, reason)
        if reason:
            return str(reason)
    return None


def _no_device(device: str) -> str | None:
    """Return why no worker could use the device here, or None if one can."""
    return gpus.why_not(device, cuda_device_count()) if device_here(device) == "cuda" else None


def device_here(asked: str) -> Literal["cpu", "cuda"]:
    """Return the kind of device that a worker would use on this machine."""
    return "cuda" if asked.startswith("cuda") or (asked == "auto" and cuda_device_count()) else "cpu"


def missing(module: ModuleType) -> str | None:
    """Return the first package that a plug-in lacks here, with the command that installs it, or None."""
    for package in plugins.missing_packages(module):
        wanted = f"'inference-cost-bench[{EXTRAS[package]}]'" if package in EXTRAS else package
        return f"needs the package {package}, which is not installed: pip install {wanted}"
    return None


def no_interpreter(python: str) -> str | None:
    """Say that there is no such interpreter; None if there is."""
    try:
        found = Path(python).is_file()
    except OSError:
        found = False
    return None if found else f"the interpreter {python} does not exist"
