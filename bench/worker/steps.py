"""Apply the steps of a load to its model, and check that each took effect: a census before and after it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from bench.engine import Changed, Engine, Teacher, experts, one_off, progress, unchanged
from bench.engine.evidence import Census, Check, Decoding
from bench.engine.stepping import probe, that_fit
from bench.errors import Explained, NotApplied, Outcome, Unsupported, VariantFailed
from bench.formatting import one_line
from bench.optimisations import gets_experts, unsupported
from bench.optimisations.shared import linear
from bench.records import Facts, Json
from bench.runtimes._checkpoint import FAULTS, MOST_SAID, OF_MEMORY

DENSE = ("float32", "bfloat16", "float16")
EXPERTS_STEP = "experts"
PROBE_TOKENS = 64  # if the context of the model has room for them
NOTHING_SEEN = (
    "nothing of the model changed: its weights, modules, hooks, functions and settings are as they were, and "
    "the scheme names no KERNEL that the model does not run anyway"
)
REPEATING, DRAFTED = 7, 4  # how many tokens are drafted for a text that repeats so many


def all_steps(message: Json) -> Iterator[Json]:
    """Yield the steps of a load, and those of the edge model of a cascade."""
    for step in message["optimise"]:
        yield step
        if "edge" in step:
            yield from all_steps(step["edge"])


def is_cascade(message: Json) -> bool:
    """Return whether a load asks for a cascade."""
    return any("edge" in step for step in message["optimise"])


def apply(engine: Engine, step: Json, facts: Facts, teacher: Teacher) -> list[Json]:
    """Apply one optimisation, to a mixture with its experts as the scheme takes them."""
    scheme = scheme_of(step)
    reason = unsupported(scheme, facts.kind_of_device, facts.dtype)
    if reason:
        raise Unsupported(reason)
    takes = gets_experts(str(step["label"]).partition(":")[0], scheme)
    if takes == "stacks" or not engine.TORCH or not experts.has_stacks(engine.model):
        if takes != "stacks" and engine.TORCH:
            linear.must_be_there(engine.model)
        return [_applied(engine, step, facts, teacher)]
    before, started = engine.census(count_zeros=False), perf_counter_ns()
    with ExitStack() as lent:
        if takes == "lent":
            taken = lent.enter_context(experts.lent_as_linears(engine.model))
        else:
            taken = experts.into_linears(engine.model)
        took_s = (perf_counter_ns() - started) / 1e9
        checks = taken.checks(before.others + sum(one.elements for one in before.matrices))
        enforce(EXPERTS_STEP, checks)
        as_linears = {
            "step": EXPERTS_STEP,
            "took_s": took_s,
            "one_off": [],
            "checks": [asdict(one) for one in checks],
            "weights_bytes_before": before.weights_bytes,
            "weights_bytes_after": engine.census(count_zeros=False).weights_bytes,
            "kernel_pattern": None,
            "note": experts.NOTE if takes == "linears" else None,
            "decoding": None,
        }
        return [as_linears, _applied(engine, step, facts, teacher)]


def _applied(engine: Engine, step: Json, facts: Facts, teacher: Teacher) -> dict[str, Any]:
    """Apply one optimisation, with a census before and after it."""
    label, scheme = str(step["label"]), scheme_of(step)
    progress.say(label, now=True)
    params = scheme.Params(**step["params"])
    before, looked = _census_for(scheme, engine), _looks(scheme, engine)
    learns = {"teacher": teacher} if "teacher" in inspect.signature(scheme.apply).parameters else {}
    started = perf_counter_ns()
    with in_our_words(f"{label} cannot be applied to {type(engine.model).__name__}"):
        given = scheme.apply(engine.model, params, **learns)
        changed = given if isinstance(given, Changed) else Changed(given)
        _for_inference(changed.model)
        engine.change(changed)
        took_s = (perf_counter_ns() - started) / 1e9
        after = _census_for(scheme, engine)
    checks = scheme.evidence(before, after, params)
    enforce(label, checks)
    alike = looked and changed == Changed(changed.model) and before == after
    if alike and _looks(scheme, engine) == looked:
        raise NotApplied(f"{label}: {NOTHING_SEEN}")
    if changed.drafter is not None or changed.rest is not None:
        enforce(label, verified := engine.as_decoded()[0])
        checks += verified
    return {
        "step": label,
        "took_s": took_s,
        "one_off": one_off.take_bill(),
        "checks": [asdict(one) for one in checks],
        "weights_bytes_before": before.weights_bytes,
        "weights_bytes_after": after.weights_bytes,
        "kernel_pattern": getattr(scheme, "KERNEL", None),
        "note": getattr(scheme, "NOTE", None),
        "between_runs_sd": None if facts.on_gpu else getattr(scheme, "BETWEEN_RUNS_SD", None),
        "decoding": asdict(after.decoding) if after.decoding else None,
    }


def _looks(scheme: ModuleType, engine: Engine) -> str:
    """Return what can be seen of the model; nothing of one that is no torch module, or if a kernel of the
    scheme proves that it did something."""
    if not engine.TORCH or not unchanged.proves_nothing(getattr(scheme, "KERNEL", None)):
        return ""
    return unchanged.looks(engine.model)


def in_our_words(cannot: str, outcome: Outcome = Outcome.LOAD_ERROR) -> Explained:
    """Turn what a library says of a model that it cannot change or run into a row that begins with ours."""

    def explain(bad: BaseException) -> VariantFailed | None:
        said = one_line(f"{type(bad).__name__}: {bad}")
        if not isinstance(bad, FAULTS) or any(word in said for word in OF_MEMORY):
            return None
        return VariantFailed(outcome, f"{cannot} ({said[:MOST_SAID]})")

    return Explained(explain)


def as_changed(engine: Engine, evidence: Sequence[Json]) -> AbstractContextManager[None]:
    """Say of a model that does not decode by which steps it was changed; of a plain one nothing is said."""
    labels = [str(step["step"]) for step in evidence[1:]]
    if not labels:
        return nullcontext()
    kind = type(getattr(engine, "model", engine)).__name__
    return in_our_words(f"{kind} does not decode after {', '.join(labels)}", Outcome.RUN_ERROR)


def _for_inference(model: Any) -> None:
    """Switch a new torch module to inference: in training mode some libraries do not use their kernels."""
    for module in getattr(model, "modules", list)():
        module.training = False


def scheme_of(step: Json) -> ModuleType:
    return importlib.import_module(step["module"])


def _census_for(scheme: ModuleType, engine: Engine) -> Census:
    """Take the census. If the scheme changes decoding, a short request is decoded as well."""
    found = engine.census()
    if not getattr(scheme, "DECODING", False):
        return found
    return replace(found, decoding=_with_growth(engine, decode_a_little(engine)))


def decode_a_little(engine: Any) -> Decoding:
    """Decode three tokens after a prompt of 64, so that the cache is in its steady state."""
    facts = engine.facts()
    length = that_fit(PROBE_TOKENS, 3, facts.context)
    prompt = probe(length, facts.vocabulary)
    engine.split_work()
    generation = engine.prefill([prompt], 3)
    engine.step(generation)
    engine.step(generation)
    split = engine.split_work()
    held = engine.cache_bytes(generation)
    a_token = None if held is None else held / (length + 2)
    compiled = engine.compiled_graphs() > 0
    drafted = engine.drafted(probe(length, facts.vocabulary, kinds=REPEATING), DRAFTED)
    return Decoding(engine.cache_classes(generation), a_token, compiled, drafted, split)


def _with_growth(engine: Any, found: Decoding) -> Decoding:
    """Add the bytes that one more token of a prompt adds to the cache. A window that is full adds none; what
    the last tokens wait in before they are packed is the same at both lengths."""
    if found.compiled or found.drafted is not None or found.split is not None:
        return found
    facts = engine.facts()
    length = that_fit(PROBE_TOKENS, 2, facts.context)
    shorter = max(length - length // 4, 1)
    held = []
    for tokens in (shorter, length):
        generation = engine.prefill([probe(tokens, facts.vocabulary)], 2)
        engine.step(generation)
        held.append(engine.cache_bytes(generation))
    if None in held or length == shorter:
        return found
    return replace(found, growth_bytes_a_token=(held[1] - held[0]) / (length - shorter))


def enforce(label: str, checks: list[Check]) -> None:
    """Raise NotApplied unless there is at least one check and all checks hold."""
    if not checks:
        raise NotApplied(f"{label}: the scheme offers no evidence")
    for one in checks:
        if not one.holds:
            raise NotApplied(f"{label}: {one.claim}: expected {one.expected}, found {one.found}")
