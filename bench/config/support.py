"""Find out what can run here: the device, the packages and the interpreter that a row needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

from bench import plugins
from bench.config.devices import devices_of
from bench.config.settings import Dtype, RuntimeBlock
from bench.config.spec import Optimisation
from bench.config.steps import engines_of
from bench.environments import interpreter, missing_environment
from bench.machine import gpus
from bench.machine.devices import cuda_device_count
from bench.optimisations import unsupported
from bench.yaml_source import KeyPath, YamlSource

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
    absent = next(filter(None, map(_no_device, devices_of(runtime))), None)
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
    no_dtype = _no_dtype(source, runtime, (*device_path[:-1], "dtype"), needed=needed)
    if absent := no_dtype or absent or _not_installed(runtime.name, schemes):
        return absent
    device = device_here(runtime.device)
    for module in schemes:
        if not (reason := unsupported(module, device, runtime.dtype)):
            continue
        asked_for = needed and runtime.device != "auto"
        if not swept and (asked_for or _mistaken(module, device, runtime.dtype)):
            raise source.error(steps_path, reason)
        return reason
    return None


def _no_dtype(source: YamlSource, runtime: RuntimeBlock, path: KeyPath, *, needed: bool) -> str | None:
    """Return why an engine does not compute in the dtype of a row, or None if it does. Raises ConfigError
    instead if the row is ``needed``."""
    known: Sequence[str] = getattr(plugins.load("runtimes", runtime.name), "DTYPES", ())
    if not known or runtime.dtype in known:
        return None
    said = f"the {runtime.name} engine computes in {' or '.join(known)}, not in {runtime.dtype}"
    if needed:
        raise source.error(path, said)
    return said


def _not_installed(engine: str, schemes: Sequence[ModuleType]) -> str | None:
    """Return which package or environment is missing here for an engine and schemes; None if nothing is."""
    if interpreter(engine, None) is not None:
        return missing_environment(engine)
    return next(filter(None, map(missing, (plugins.load("runtimes", engine), *schemes))), None)


def _mistaken(scheme: ModuleType, device: str, dtype: str) -> bool:
    """Return whether a scheme runs in this dtype nowhere, though it would run here in another one."""
    nowhere = all(unsupported(scheme, one, dtype) for one in ("cpu", "cuda"))
    return nowhere and not all(unsupported(scheme, device, other) for other in get_args(Dtype))


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
    """Return a sentence if an interpreter does not exist; None if it does."""
    try:
        exists = Path(python).is_file()
    except OSError:
        exists = False
    return None if exists else f"the interpreter {python} does not exist"
