"""Print the lists of `bench list`: a line for each entry, and whether it can run here or what is missing."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from bench import plugins
from bench.cli import model_pages
from bench.cli import scheme_pages as schemes
from bench.cli.tables import Row as Row
from bench.cli.tables import align as align
from bench.cli.tables import terminal_width as terminal_width
from bench.config.spec import Arm, Optimisation
from bench.config.support import device_here, missing
from bench.errors import UsageError
from bench.formatting import count, did_you_mean, one_line, printable, with_ordinals
from bench.models.reference import Hub, LocalPath, ModelRef, Random
from bench.optimisations import verbs

NO_STEPS = "nothing"  # shown in the column "optimised by" for a row without optimisations
MORE = {
    "models": "   (all about one: bench list models NAME)",
    "optimisations": "   (all about one: bench list optimisations NAME)",
}
TO_DIRECTION = {"lower": "lower is better", "higher": "higher is better", None: "-"}


def render(kinds: Sequence[str]) -> str:
    """Return the requested lists as text. Raises UsageError, which suggests the nearest name, for others."""
    wanted = [kind.strip() for kind in kinds]
    for kind in wanted:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS, f"known: {', '.join(KINDS)}")
            raise UsageError(f"nothing to list called {kind[:60]!r} ({hint})")
    blocks = []
    for kind in wanted:
        lines = align([tuple(map(printable, row)) for row in KINDS[kind]()], terminal_width())
        blocks.append("\n".join([kind + MORE.get(kind, ""), *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)


def page(kind: str, words: Sequence[str]) -> str:
    """Describe one scheme or one model. Raises UsageError for other lists, which have no such pages."""
    if kind not in PAGES:
        raise UsageError(f"only {' and '.join(PAGES)} have more to show: bench list {next(iter(PAGES))} NAME")
    return PAGES[kind](words)


def scheme(words: Sequence[str]) -> str:
    """Describe one scheme, with a line that can be pasted into a config."""
    verb, name, module = schemes.find(words)
    text = _lay_out(schemes.page(verb, name, module))
    return f"{text}\n\nA row of a config:\n\n{schemes.line(verb, name, module)}"


def model(words: Sequence[str]) -> str:
    """Describe one model: its card, the precision that fits here, and the lines of a config that use it."""
    return _lay_out(model_pages.page(" ".join(words)))


def _lay_out(rows: Iterable[Row]) -> str:
    """Lay out rows as text: a row of one cell is a paragraph, and other rows form tables."""
    width = terminal_width() or 112
    lines: list[str] = []
    for is_text, group in itertools.groupby(rows, lambda row: len(row) == 1):
        if is_text:
            lines += (line for (text,) in group for line in [*textwrap.wrap(printable(text), width), ""])
        else:
            lines += (f"  {line}" for line in align([tuple(map(printable, row)) for row in group], width))
    return "\n".join(lines)


def arm_words(arm: Arm) -> Row:
    """Return an arm's model, runtime, optimisations and workload, each in a few words."""
    return model_words(arm.model), _runtime(arm), _steps(arm), _workload(arm)


def model_words(reference: ModelRef) -> str:
    """Return a short name of a model for a person."""
    if isinstance(reference, Hub):
        return f"{reference.repo}@{reference.revision[:8]}"
    if isinstance(reference, LocalPath):
        return str(reference.path)
    if isinstance(reference, Random):
        return ", ".join(filter(None, (reference.name, "random weights", str(reference.size))))
    return reference.name


def _runtime(arm: Arm) -> str:
    runtime = arm.runtime
    threads = "" if runtime.threads is None else f", {count(runtime.threads, 'thread')}"
    device = f"auto ({device_here('auto')} here)" if runtime.device == "auto" else runtime.device
    where = f" in {runtime.python}" if runtime.python else ""
    named = plugins.load("runtimes", runtime.name)
    if "dtype" in getattr(named, "USES", ("dtype",)):
        types = f", {runtime.dtype}"
    else:  # a server that takes no dtype: its GGUF file decides, or somebody else
        types = ", types of its GGUF file" if getattr(named, "GGUF", False) else ""
    return f"{runtime.name}{where}, {device}{types}{threads}"


def _steps(arm: Arm) -> str:
    return " + ".join(_own_settings(step).label for step in arm.optimise) or NO_STEPS


def _own_settings(step: Optimisation) -> Optimisation:
    """Return the step with only the settings that differ from the scheme's defaults."""
    kind = plugins.load(f"optimisations.{step.verb}", step.scheme).Params
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    own = tuple((key, value) for key, value in step.params if value != defaults[key])
    return dataclasses.replace(step, params=own)


def _workload(arm: Arm) -> str:
    load = arm.workload
    kind = plugins.load("workloads", load.name)
    if hasattr(kind, "words"):
        return str(kind.words(load))
    given = "" if load.input_tokens is None else f"{load.input_tokens} tokens in, "
    asked = count(load.requests, "request")
    written = "" if arm.runtime.task else f"{load.output_tokens} out, "  # an encoder writes no token
    return f"{load.name}, {asked}, {given}{written}batch {load.batch_size}"


def _optimisations() -> Iterator[Row]:
    for verb in verbs():
        for name, module in plugins.each(f"optimisations.{verb}"):
            yield f"{verb}: {name}", *_here(schemes.scheme_here(module), plugins.describe(module))


def _here(here: schemes.Here, description: str) -> tuple[str, str]:
    note = f" ({here.note})" if here.note else ""
    return ("here" if here.runs else "not here"), description + note


def _runtimes() -> Iterator[Row]:
    for name, module in plugins.each("runtimes"):
        yield name, *_here(schemes.engine_here(name), plugins.describe(module))


def _plugins(package: str) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for name, module in plugins.each(package):
            yield name, *_here(schemes.module_here(module), plugins.describe(module))

    return rows


def _drift() -> Iterator[Row]:
    """Yield suites and additional statistics, each with its key in the config."""
    for key in ("suites", "statistics"):
        for name, *more in _plugins(f"drift.{key}")():
            yield f"{key}: {name}", *more


def _texts() -> Iterator[Row]:
    for name, module in plugins.each("texts"):
        yield name, missing(module) or "here", plugins.describe(module), module.LICENCE


def _metrics() -> Iterator[Row]:
    from bench.metrics import all_metrics

    for metric in all_metrics().values():
        yield metric.key, metric.unit, TO_DIRECTION[metric.better], with_ordinals(metric.formula)


def _prices() -> Iterator[Row]:
    from bench.pricing.book import whole_book

    book, errors = whole_book()
    for error in errors:
        print(f"bench: not in the list of prices: {one_line(str(error))}", file=sys.stderr)
    for price in sorted(book.values(), key=lambda price: price.id):
        source = textwrap.shorten(price.source, 90, placeholder=" ...")
        yield price.id, f"{price.hourly_usd:.4f} USD/h", f"{price.date}", source


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "models": model_pages.rows,
    "optimisations": _optimisations,
    "runtimes": _runtimes,
    "workloads": _plugins("workloads"),
    "texts": _texts,
    "metrics": _metrics,
    "drift": _drift,
    "probes": _plugins("probes"),
    "prices": _prices,
    "reports": _plugins("report.formats"),
}
PAGES: dict[str, Callable[[Sequence[str]], str]] = {"optimisations": scheme, "models": model}
