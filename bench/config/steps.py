"""Read the steps of ``optimise``: each names a scheme, and the scheme's own record checks its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from bench import plugins
from bench.config.encoders import task_of
from bench.config.models import read_model
from bench.config.plugin_settings import settings
from bench.config.spec import Optimisation
from bench.formatting import did_you_mean
from bench.models.registry import find_model
from bench.optimisations import routes, verbs
from bench.optimisations.shared.calibration import CalibrationParams
from bench.texts import check_text
from bench.yaml_source import KeyPath, YamlSource, blaming

HOME_ENGINE = "transformers"  # the engine of a scheme that names no other
READY_STUDENT = {"distil": "none"}


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


def settings_in(data: Mapping[str, Any]) -> set[str]:
    """Return the settings of every scheme that a raw file names in its rows, right or wrong."""
    variants = data.get("variants")
    rows = [data, *(variants if isinstance(variants, list) else ())]
    raw = [row.get("optimise") for row in rows if isinstance(row, dict)]
    steps = [step for listed in raw if isinstance(listed, list) for step in listed]
    return {key for step in steps for key in settings_of(step)} - verbs().keys()


def settings_of(step: object) -> set[str]:
    """Return the keys that a raw step has or may have: its kind, and the settings of the scheme it names."""
    if not isinstance(step, dict):
        return set()
    found = {key for key in step if isinstance(key, str)}
    for verb in verbs().keys() & step.keys():
        kind, name = f"optimisations.{verb}", str(step[verb])
        if name in plugins.names(kind):
            found |= {field.name for field in dataclasses.fields(plugins.load(kind, name).Params)}
    return found


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
    if hasattr(scheme, "unused"):
        _must_do_something(source, scheme, params, path)
    if issubclass(scheme.Params, CalibrationParams):
        with blaming(source, (*path, "text")):
            check_text(str(params["text"]))
    for key in getattr(scheme, "MODELS", ()):
        _must_write(source, str(params[key]), (*path, key))
    if routes(verb):
        params["edge"] = _edge(source, params["edge"], (*path, "edge"), engine)
        if params.get("cloud", ...) is None:  # the large model is here, as it always was: nothing to name
            del params["cloud"]
    return Optimisation(verb, str(raw[verb]), tuple(sorted(params.items())))


def _must_do_something(
    source: YamlSource, scheme: ModuleType, params: Mapping[str, object], path: KeyPath
) -> None:
    """Refuse a setting that does nothing beside the others: whoever gave it expects something of it. The
    default is no such value, because a whole config has every setting."""
    usual = {field.name: field.default for field in dataclasses.fields(scheme.Params)}
    for key, reason in scheme.unused(scheme.Params(**params)).items():
        if params[key] != usual[key]:
            raise source.error((*path, key), f"does nothing here: {reason}", "leave it out")


def _edge(source: YamlSource, edge: Any, path: KeyPath, engine: str) -> Any:
    """Return the edge model of a cascade with the steps done to it, after a look at what it names."""
    _must_write(source, edge.model, (*path, "model"))
    steps = optimisations(source, list(edge.optimise), (*path, "optimise"), engine)
    return dataclasses.replace(edge, optimise=steps)


def _must_write(source: YamlSource, called: str, path: KeyPath) -> None:
    """Check that a model which a setting names is there and writes text."""
    model = read_model(source, {"path": called} if "/" in called else called, path, find_model)
    if task_of(model, find_model):
        raise source.error(path, f"{called} is an encoder, which writes no text", "name a model that does")


def engines_of(scheme: ModuleType) -> tuple[str, ...]:
    """Return the engines that a scheme is for."""
    engines: tuple[str, ...] = getattr(scheme, "RUNTIMES", (HOME_ENGINE,))
    return engines
