"""Describe schemes and engines for `bench list`: whether they run here, their settings, a line to paste."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import yaml

from bench import plugins
from bench.config.base import Block
from bench.config.steps import HOME_ENGINE, engines_of
from bench.config.support import device_here, missing
from bench.environments import interpreter, missing_environment
from bench.errors import UsageError
from bench.formatting import nearest
from bench.optimisations import spellings, unsupported, verbs
from bench.optimisations.shared.calibration import CalibrationParams
from bench.serving.engines import ADAPTERS
from bench.serving.environments import interpreter_apart

SOME_MODEL = "smollm2-135m"
DTYPES = ("float32", "bfloat16", "float16")
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", types.NoneType: "null"}


@dataclass(frozen=True)
class Here:
    """Whether a plug-in runs on this machine, and a note about that."""

    runs: bool
    note: str = ""


def engine_here(name: str) -> Here:
    """Return whether an engine runs here, in this environment or in an environment of its own."""
    if name in ADAPTERS:
        if interpreter_apart(ADAPTERS[name]) is not None:
            return Here(True, "in an environment of its own")
        return Here(True) if ADAPTERS[name].is_here() else Here(False, ADAPTERS[name].install)
    if interpreter(name, None) is not None:
        reason = missing_environment(name)
        return Here(False, reason) if reason else Here(True, "in an environment of its own")
    return module_here(plugins.load("runtimes", name))


def module_here(module: ModuleType) -> Here:
    """Return whether a plug-in runs here, judged only by the packages that it needs."""
    reason = missing(module)
    return Here(reason is None, reason or "")


def scheme_here(module: ModuleType) -> Here:
    """Return whether a scheme runs here, in one of its engines and on this machine's device."""
    reasons = [_why_not(engine, module) for engine in engines_of(module)]
    if None not in reasons:
        return Here(False, reasons[0] or "")
    device = device_here("auto")
    fit = fitting_dtypes(module)
    if not fit:
        return Here(False, f"not on {device}: {unsupported(module, device, DTYPES[0])}")
    return Here(True, "" if fit == DTYPES else f"in {' and '.join(fit)} only")


def _why_not(engine: str, module: ModuleType) -> str | None:
    """Return why an engine, or a scheme in it, cannot run here, or None if it can."""
    here = engine_here(engine)
    if not here.runs:
        return here.note
    return None if interpreter(engine, None) is not None else missing(module)


def fitting_dtypes(module: ModuleType) -> tuple[str, ...]:
    """Return the dtypes in which a scheme runs on this machine's device."""
    device = device_here("auto")
    return tuple(dtype for dtype in DTYPES if unsupported(module, device, dtype) is None)


def find(words: Sequence[str]) -> tuple[str, str, ModuleType]:
    """Return (verb, name, module) of a scheme.

    ``words`` may be ``hqq``, ``quantise hqq``, ``quantise/hqq`` or ``quantise: hqq``. Raises UsageError,
    which suggests the nearest known name, if there is no such scheme.
    """
    parts = [part for part in re.split(r"[\s/:]+", " ".join(words)) if part]
    verb = spellings().get(parts[0], parts[0]) if parts else ""
    if len(parts) == 2 and verb in verbs():
        return verb, parts[1], plugins.load(f"optimisations.{verb}", parts[1])
    homes = {name: verb for verb in verbs() for name in plugins.names(f"optimisations.{verb}")}
    if len(parts) == 1 and parts[0] in homes:
        return find((homes[parts[0]], parts[0]))
    close = nearest(parts[-1], homes) if parts else None
    hint = f"did you mean {f'{homes[close]} {close}'!r}?" if close else "see `bench list optimisations`"
    raise UsageError(f"no scheme called {' '.join(parts)[:60]!r} ({hint})")


def page(verb: str, name: str, module: ModuleType) -> Iterator[tuple[str, ...]]:
    """Yield the description of a scheme as rows: a row of one cell is a paragraph, and others form tables."""
    here = scheme_here(module)
    yield (f"{verb}: {name}",)
    yield from ((" ".join(part.split()),) for part in (inspect.getdoc(module) or "").split("\n\n"))
    yield from ((text,) for text in explanations(module.Params))
    yield from _settings(module)
    yield ("",)
    yield "needs", ", ".join(getattr(module, "REQUIRES", ())) or "nothing more"
    yield "engine", " or ".join(engines_of(module))
    yield "here", (f"runs on {device_here('auto')} {here.note}" if here.runs else here.note).strip()
    if note := getattr(module, "NOTE", ""):
        yield "speed", note
    if sd := getattr(module, "BETWEEN_RUNS_SD", None):
        yield "repeats", f"runs on a CPU differ by {sd:.1%} more than their pairs show; intervals include it"


def explanations(params: type) -> Iterator[str]:
    """Yield the docstrings of a settings class and of its base classes."""
    for kind in inspect.getmro(params):
        if (
            dataclasses.is_dataclass(kind)
            and kind.__doc__
            and not kind.__doc__.startswith(f"{kind.__name__}(")
        ):
            yield " ".join(kind.__doc__.split())


def _settings(module: ModuleType) -> Iterator[tuple[str, ...]]:
    """Yield (name, default, allowed values) of each setting."""
    kinds = typing.get_type_hints(module.Params)
    for field in dataclasses.fields(module.Params):
        required = field.default is dataclasses.MISSING
        yield (
            field.name,
            "must be given" if required else yaml_value(field.default),
            allowed(kinds[field.name]),
        )


def allowed(kind: Any) -> str:
    """Describe a type in words: ``8, 4 or 2``, ``a number or null``."""
    return _or(list(_choices(kind)))


def _choices(kind: Any) -> Iterator[str]:
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        yield from map(yaml_value, arguments)
    elif typing.get_origin(kind) in (types.UnionType, typing.Union):
        for argument in arguments:
            yield from _choices(argument)
    elif dataclasses.is_dataclass(kind):
        yield f"a block of {', '.join(field.name for field in dataclasses.fields(kind))}"
    elif typing.get_origin(kind) is tuple:
        yield f"a list, each {allowed(arguments[0])}"
    elif isinstance(kind, type) and issubclass(kind, Block):
        yield f"a block of {', '.join(kind.model_fields)}"
    else:
        yield WORDS.get(kind, str(kind))


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def yaml_value(value: object) -> str:
    """Write a value as YAML."""
    if dataclasses.is_dataclass(value):
        return str(value)
    return flow(list(value) if isinstance(value, tuple) else value)


def line(verb: str, name: str, module: ModuleType) -> str:
    """Return a variant of a config on one line of YAML.

    It has the scheme's own settings with their defaults, and those of its ``EXAMPLE``, which must be given.
    It names a known model if the scheme needs one, and an engine and a dtype if the defaults do not fit.
    """
    step: dict[str, object] = {verb: name, **dict.fromkeys(getattr(module, "MODELS", ()), SOME_MODEL)}
    of_the_text = {field.name for field in dataclasses.fields(CalibrationParams)}
    for field in dataclasses.fields(module.Params):
        given = field.default not in (None, (), dataclasses.MISSING)
        if field.name not in of_the_text and given and not dataclasses.is_dataclass(field.default):
            step[field.name] = field.default
    step |= getattr(module, "EXAMPLE", {})
    runtime = {}
    if engines_of(module) != (HOME_ENGINE,):
        runtime["name"] = engines_of(module)[0]
    if (fit := fitting_dtypes(module)) and DTYPES[0] not in fit:
        runtime["dtype"] = fit[0]
    return f"- {flow({'name': name, **({'runtime': runtime} if runtime else {}), 'optimise': [step]})}"


def flow(value: object) -> str:
    """Write a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
