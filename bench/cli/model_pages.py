"""Print the known models for `bench list`: a line for each model, and a page for its whole card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.cli.fit import PRECISIONS, TOKENS, Memory, fitting, memory_here, needed_bytes
from bench.cli.scheme_pages import flow
from bench.errors import ConfigError
from bench.formatting import MIB, format_mib, format_significant, one_line
from bench.models.convert import recorded_grid
from bench.models.disk_cache import is_complete, model_cache_dir
from bench.models.registry import ModelFile, every_file, find_model
from bench.records.grid import words

Row = tuple[str, ...]
PIN = "40 hex digits of a commit"


def rows() -> Iterator[Row]:
    """Yield a row with the titles of the columns, then a row for each model."""
    memory = memory_here()
    yield "name", "parameters", "licence", "weights", "here", "reasoning", f"fits {memory.words}", "about"
    for model in every_file():
        if isinstance(model, ConfigError):
            yield Path(model.file).stem, *("-",) * 6, f"cannot be read: {one_line(str(model))[:200]}"
            continue
        yield (
            model.name, size_words(model), model.licence, kind_of_source(model), _availability(model),
            "yes" if model.reasoning else "no", fitting(model.architecture, memory),
            "; ".join(filter(None, (model.description, _weights(model)))),
        )  # fmt: skip


def size_words(model: ModelFile) -> str:
    """Return the number of parameters, such as ``671B (37.6B active)`` for a mixture of experts."""
    facts = model.architecture
    active = "" if facts.active == facts.parameters else f" ({rounded(facts.active)} active)"
    return rounded(facts.parameters) + active


def rounded(count: int) -> str:
    """Return a number of parameters with three digits and a unit: ``135M``, ``7.62B``, ``1.03T``."""
    units = (("T", 1e12), ("B", 1e9), ("M", 1e6))
    unit, size = next((unit, size) for unit, size in units if count >= 0.9995 * size or unit == "M")
    return f"{format_significant(float(f'{count / size:.3g}'))}{unit}"


def kind_of_source(model: ModelFile) -> str:
    """Return where the weights come from: ``package``, ``hub``, ``directory`` or ``shape only``."""
    if model.source:
        return model.source.kind
    return "hub" if model.hub else "shape only"


def _availability(model: ModelFile) -> str:
    if model.source is None:
        return "pin a revision" if model.hub else "random only"
    if model.source.directory:
        return "here"
    return "cached" if is_cached(model) else "not fetched"


def _weights(model: ModelFile) -> str:
    """Say in which format a model's weights were published, as far as that is known before a fetch."""
    entry = _cache_entry(model)
    converted = model.source is not None and model.source.package is not None
    if converted and entry is not None and is_complete(entry) and (grid := recorded_grid(entry)):
        return f"weights {words(asdict(grid))}"
    moved = model.source and model.source.package and model.source.package.off_grid
    return "weights moved off the grid of their file when they are fetched" if moved else ""


def is_cached(model: ModelFile) -> bool:
    """Return whether all weights of a known model are in the cache."""
    entry = _cache_entry(model)
    return entry is not None and is_complete(entry)


def _cache_entry(model: ModelFile) -> Path | None:
    """Return the cache directory of a known model's weights, or None if it has no weights to fetch."""
    source = model.source
    if source and source.package:
        return model_cache_dir(source.package.cache_key(model.name))
    return model_cache_dir(f"{source.hub.repo} {source.hub.revision}") if source and source.hub else None


def page(name: str) -> Iterator[Row]:
    """Yield a whole card as rows: a row of one cell is a paragraph, and other rows form tables.

    Raises UsageError, which suggests the nearest name, if there is no such model.
    """
    model = find_model(name)
    yield (model.name,)
    yield (f"{model.description}.",)
    yield from _about(model)
    yield ("",)
    yield from _sizes(model)
    yield ("",)
    yield from _memory(model, memory_here())
    yield ("",)
    yield ("The config, from which transformers builds the class:",)
    yield from ((key, flow(value)) for key, value in model.config.items())
    yield ("",)
    yield from _use(model)


def _about(model: ModelFile) -> Iterator[Row]:
    """Yield the licence, where the weights are, their precision, chat template and reasoning."""
    limits = f": {model.licence_limits}" if model.licence_limits else ""
    yield "licence", model.licence + limits
    yield "homepage", model.homepage
    yield "weights", ", ".join((kind_of_source(model), _availability(model)))
    if model.hub:
        yield "hub", model.hub
    if model.precision:
        yield "published in", model.precision
    if model.chat_template is not None:
        yield "chat template", "yes" if model.chat_template else "no"
    marks = model.reasoning
    yield "reasoning", f"yes, between {marks.start} and {marks.end}" if marks else "no"


def _sizes(model: ModelFile) -> Iterator[Row]:
    """Yield the numbers of the architecture, with those that the makers published in parentheses."""
    stated, facts = model.published, model.architecture
    makers = stated.model_dump() if stated else {}
    for key, value in facts.model_dump(exclude_none=True).items():
        published = f" (the makers say {makers[key]})" if makers.get(key) else ""
        yield key, (f"{value:,}" if type(value) is int else flow(value)) + published
    if stated and stated.note:
        yield "note", stated.note


def _memory(model: ModelFile, memory: Memory) -> Iterator[Row]:
    """Yield the memory of weights and cache at each precision, and the highest precision that fits here."""
    facts = model.architecture
    tokens = min(TOKENS, facts.context)
    yield "cache a token", f"{format_significant(facts.token_bytes / 1024)} KiB at 16 bits"
    yield f"cache of {tokens:,}", f"{format_mib(facts.cache_bytes(tokens))} MiB at 16 bits"
    for bits, name in PRECISIONS.items():
        yield name, f"{needed_bytes(facts, bits) / MIB:,.0f} MiB of weights and cache"
    yield "fits here", f"{fitting(facts, memory)}, in {memory.words} with a tenth left for the rest"


def _use(model: ModelFile) -> Iterator[Row]:
    """Yield the lines of a config that use the model."""
    yield ("In a config:",)
    if model.source:
        yield f"model: {model.name}", "the pinned weights"
    elif model.hub:
        yield f"model: {{hub: {model.hub}, revision: ...}}", f"weights of the hub; revision is the {PIN}"
    yield "model: {path: DIR}", "weights in a directory of yours"
    yield f"model: {{random: {model.name}}}", "random weights, for speed and memory alone"
