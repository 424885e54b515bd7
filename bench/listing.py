"""What there is, as text: a line each, and whether it can run here or what is missing."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType

from bench import plugins
from bench.arms import device_here, missing
from bench.errors import UsageError
from bench.models.reference import Hub, LocalPath, ModelRef, Random
from bench.optimisations import VERBS
from bench.spec import Arm
from bench.units import format_significant, nearest, printable

Row = tuple[str, ...]
DTYPES = ("float32", "bfloat16", "float16")
TO_DIRECTION = {"lower": "lower is better", "higher": "higher is better", None: "-"}


def render(kinds: Sequence[str]) -> str:
    """The lists asked for, one after the other. Raises UsageError naming the nearest known one."""
    wanted = [kind.strip() for kind in kinds]
    for kind in wanted:
        if kind not in KINDS:
            close = nearest(kind, KINDS)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(KINDS)}"
            raise UsageError(f"nothing to list called {kind[:60]!r} ({hint})")
    found = []
    for kind in wanted:
        lines = (f"  {line}" for line in align([tuple(map(printable, row)) for row in KINDS[kind]()]))
        found.append("\n".join([kind, *lines]))
    return "\n\n".join(found)


def align(rows: Iterable[Row]) -> list[str]:
    """Rows of cells as lines with aligned columns; the last column runs free."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in table
    ]


def arm_words(arm: Arm) -> Row:
    """Model, runtime, what is done to the model, workload: each in a few words."""
    return model_words(arm.model), _runtime(arm), _steps(arm), _workload(arm)


def model_words(reference: ModelRef) -> str:
    """A model as a person would point at it."""
    if isinstance(reference, Hub):
        return f"{reference.repo}@{reference.revision[:8]}"
    if isinstance(reference, LocalPath):
        return str(reference.path)
    if isinstance(reference, Random):
        layers = "" if reference.layers is None else f", {count(reference.layers, 'layer')}"
        return f"{reference.name}, random weights{layers}"
    return reference.name


def _runtime(arm: Arm) -> str:
    runtime = arm.runtime
    threads = "" if runtime.threads is None else f", {count(runtime.threads, 'thread')}"
    device = f"auto ({device_here('auto')} here)" if runtime.device == "auto" else runtime.device
    where = f" in {runtime.python}" if runtime.python else ""
    return f"{runtime.name}{where}, {device}, {runtime.dtype}{threads}"


def _steps(arm: Arm) -> str:
    return " + ".join(step.label for step in arm.optimise) or "nothing"


def _workload(arm: Arm) -> str:
    load = arm.workload
    given = "" if load.input_tokens is None else f"{load.input_tokens} tokens in, "
    return f"{load.name}, {load.requests} requests, {given}{load.output_tokens} out, batch {load.batch_size}"


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _models() -> Iterator[Row]:
    from bench.models.registry import all_models

    for model in all_models():
        source = model.source
        kind = "shape only" if source is None else "package" if source.package else "hub"
        at_hand = "random only" if source is None else "cached" if is_cached(model.name) else "not fetched"
        size = f"{format_significant(model.architecture.parameters / 1e6)}M"
        yield model.name, kind, at_hand, size, model.licence, model.description


def is_cached(name: str) -> bool:
    """Whether the weights of a known model are in the cache, complete."""
    from bench.models.cache import is_complete, model_cache_dir
    from bench.models.convert import RECIPE
    from bench.models.registry import find_model

    source = find_model(name).source
    if source and source.package:
        one = source.package
        key = f"{name}-{one.version} {one.distribution} {one.member_sha256} {RECIPE}"
    elif source and source.hub:
        key = f"{source.hub.repo} {source.hub.revision}"
    else:
        return False
    return is_complete(model_cache_dir(key))


def _optimisations() -> Iterator[Row]:
    for verb in VERBS:
        for name, module in plugins.each(f"optimisations.{verb}"):
            yield f"{verb}: {name}", _scheme_here(module), _settings(module), plugins.describe(module)


def _scheme_here(module: ModuleType) -> str:
    """Whether a scheme runs on this machine's device, and in which dtypes."""
    if reason := missing(module):
        return reason
    device = device_here("auto")
    reasons = {dtype: module.unsupported(device, dtype) for dtype in DTYPES}
    fit = [dtype for dtype, reason in reasons.items() if reason is None]
    if not fit:
        return f"not on {device}: {reasons[DTYPES[0]]}"
    return f"runs on {device}" + ("" if len(fit) == len(DTYPES) else f" in {', '.join(fit)}")


def _settings(module: ModuleType) -> str:
    """``name=default`` of each setting; one without a default must be given."""
    fields = dataclasses.fields(module.Params)
    shown = (f.name if f.default is dataclasses.MISSING else f"{f.name}={f.default}" for f in fields)
    return ", ".join(shown) or "no settings"


def _plugins(package: str) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for name, module in plugins.each(package):
            yield name, missing(module) or "here", plugins.describe(module)

    return rows


def _texts() -> Iterator[Row]:
    for name, module in plugins.each("texts"):
        yield name, missing(module) or "here", plugins.describe(module), module.LICENCE


def _metrics() -> Iterator[Row]:
    from bench.metrics import METRICS

    for metric in METRICS.values():
        yield metric.key, metric.unit, TO_DIRECTION[metric.better], metric.formula


def _prices() -> Iterator[Row]:
    from bench.pricing.book import default_book

    for price in sorted(default_book().values(), key=lambda one: one.id):
        source = textwrap.shorten(price.source, 90, placeholder=" ...")
        yield price.id, f"{price.hourly_usd:.4f} USD/h", f"{price.date}", source


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "models": _models,
    "optimisations": _optimisations,
    "runtimes": _plugins("runtimes"),
    "workloads": _plugins("workloads"),
    "texts": _texts,
    "metrics": _metrics,
    "drift": _plugins("drift"),
    "prices": _prices,
    "reports": _plugins("report.formats"),
}
