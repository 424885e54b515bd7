"""Load the one model of a worker, apply each optimisation, and check that it took effect."""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from bench.engine import Changed, Engine, Options, Teacher, experts, memory, one_off, progress, routing
from bench.engine.evidence import Census, Check, Decoding, check
from bench.errors import NotApplied, Unsupported
from bench.optimisations import gets_experts
from bench.records import Exported, Facts, Json, Loaded, Mixture
from bench.worker import builds, cascades
from bench.worker.passes import undisturbed

DENSE = ("float32", "bfloat16", "float16")
EXPERTS_STEP = "experts"
PROBE_TOKENS = 64  # short enough for the context of every model
REPEATING, DRAFTED = [number % 7 + 3 for number in range(PROBE_TOKENS)], 4  # what is drafted for such a text


def load(message: Json) -> tuple[Engine, Loaded]:
    """Load the model and apply its optimisations. Return the engine and what was read back from it.

    Raises Unsupported if a scheme cannot run on this device and dtype, before that scheme is applied. Raises
    NotApplied if a check of the evidence does not hold.
    """
    options = Options(**message["options"])
    runtime = importlib.import_module(message["runtime"])
    directory = Path(message["directory"])
    needed = {name for step in cascades.all_steps(message) for name in _scheme(step).REQUIRES}
    with undisturbed():  # collecting the objects that an engine's imports create takes a second
        started = perf_counter_ns()
        not_needed: Callable[[Path], set[str]] = getattr(runtime, "not_needed", lambda _directory: set())
        with _hidden(not_needed(directory) - needed):
            engine: Engine = runtime.load(directory, options)
    loaded_s = (perf_counter_ns() - started) / 1e9
    builds.watch()
    facts = engine.facts()
    checks = [*engine.as_asked(options), *_as_packed(engine, facts)]
    if words := engine.reads():
        checks.append(check("what the model reads", words, True, words))
    held: float | None = None
    mixture: Mixture | None = None
    if message.get("step_by_step"):
        with routing.watched(engine) as routed:
            found, held = engine.as_decoded()
        mixture = routing.described(engine, None, routed.chosen)
        checks += [*found, *(engine.as_batched() if message.get("padded") else ())]
    _enforce("runtime", checks)
    teacher = _teacher(runtime, options, message)
    changes = [step for step in message["optimise"] if "edge" not in step]
    steps = [done for step in changes for done in _apply(engine, step, facts, teacher)]
    engine, beside, edge_s = cascades.on_top(engine, message, load, _enforce)
    gc.collect()
    memory.give_back()
    stored = engine.census(count_zeros=False)
    as_loaded = {"step": "runtime", "took_s": loaded_s, "checks": [asdict(one) for one in checks]}
    return engine, Loaded(
        facts=_as_measured(_with_cache(engine.facts(), facts, held), steps),
        load_s=loaded_s + edge_s,
        optimise_s=sum(step["took_s"] for step in (*steps, *beside)) - edge_s,
        load_memory=memory.read_peak(engine),
        weights_bytes=stored.weights_bytes,
        bytes_by_dtype=dict(stored.bytes_by_dtype),
        parameters=engine.parameters(),
        evidence=(as_loaded, *steps, *beside),
        mixture=routing.described(engine, mixture),
    )


@contextmanager
def _hidden(packages: Iterable[str]) -> Iterator[None]:
    """Hide these packages as if they were not installed: ``sys.modules`` gets an entry of None for each."""
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def _scheme(step: Json) -> ModuleType:
    return importlib.import_module(step["module"])


def _census_for(scheme: ModuleType, engine: Engine) -> Census:
    """Take the census. If the scheme changes decoding, a short request is decoded as well."""
    found = engine.census()
    return replace(found, decoding=_decode_a_little(engine)) if getattr(scheme, "DECODING", False) else found


def _decode_a_little(engine: Any) -> Decoding:
    """Decode three tokens after a 64-token prompt, so that the cache is in its steady state."""
    prompt = [number % 97 + 3 for number in range(PROBE_TOKENS)]
    engine.split_work()
    generation = engine.prefill([prompt], 3)
    engine.step(generation)
    engine.step(generation)
    split = engine.split_work()
    held = engine.cache_bytes(generation)
    a_token = None if held is None else held / (PROBE_TOKENS + 2)
    compiled = engine.compiled_graphs() > 0
    drafted = engine.drafted(REPEATING, DRAFTED)
    return Decoding(engine.cache_class(generation), a_token, compiled, drafted, split)


def _as_packed(engine: Engine, facts: Facts) -> list[Check]:
    """Check that the weights of a quantised checkpoint are still packed after decoding. Some loaders unpack
    them in the first forward pass."""
    method = facts.quantised_checkpoint
    if method is None:
        return []
    _decode_a_little(engine)
    stored = [m.dtype for m in engine.census(count_zeros=False).matrices if not m.is_head]
    packed = sum(dtype not in DENSE for dtype in stored)
    found = f"{packed} of {len(stored)} packed ({', '.join(sorted(set(stored)))})"
    return [check(f"weights of the {method} checkpoint after decoding", found, packed > 0, "packed")]


def _teacher(runtime: ModuleType, options: Options, message: Json) -> Teacher:
    baseline = message.get("baseline", {"directory": message["directory"], "random": options.random})
    directory, as_ours = Path(baseline["directory"]), replace(options, random=baseline["random"])
    return Teacher(directory, lambda: runtime.load(directory, as_ours).model)


def _apply(engine: Engine, step: Json, facts: Facts, teacher: Teacher) -> list[dict[str, Any]]:
    """Apply one optimisation, to a mixture with its experts as the scheme takes them."""
    scheme = _scheme(step)
    reason = scheme.unsupported(facts.kind_of_device, facts.dtype)
    if reason:
        raise Unsupported(reason)
    takes = gets_experts(str(step["label"]).partition(":")[0], scheme)
    if takes == "stacks" or not engine.TORCH or not experts.has_stacks(engine.model):
        return [_applied(engine, step, facts, teacher)]
    before, started = engine.census(count_zeros=False), perf_counter_ns()
    with ExitStack() as lent:
        if takes == "lent":
            taken = lent.enter_context(experts.lent_as_linears(engine.model))
        else:
            taken = experts.into_linears(engine.model)
        took_s = (perf_counter_ns() - started) / 1e9
        checks = taken.checks(before.others + sum(one.elements for one in before.matrices))
        _enforce(EXPERTS_STEP, checks)
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
    label, scheme = str(step["label"]), _scheme(step)
    progress.say(label, now=True)
    params = scheme.Params(**step["params"])
    before = _census_for(scheme, engine)
    learns = {"teacher": teacher} if "teacher" in inspect.signature(scheme.apply).parameters else {}
    started = perf_counter_ns()
    given = scheme.apply(engine.model, params, **learns)
    changed = given if isinstance(given, Changed) else Changed(given)
    _for_inference(changed.model)
    engine.change(changed)
    took_s = (perf_counter_ns() - started) / 1e9
    after = _census_for(scheme, engine)
    checks = scheme.evidence(before, after, params)
    _enforce(label, checks)
    if changed.drafter is not None or changed.rest is not None:
        _enforce(label, verified := engine.as_decoded()[0])
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
        "decoding": asdict(after.decoding) if after.decoding else None,
    }


def _for_inference(model: Any) -> None:
    """Switch a new torch module to inference: in training mode some libraries do not use their kernels."""
    for module in getattr(model, "modules", list)():
        module.training = False


def _with_cache(now: Facts, as_loaded: Facts, held: float | None) -> Facts:
    """Return the facts with the bytes of cache per token as ``held`` after loading.

    A scheme may have changed the shapes since, so it is the formula that is corrected by what was held.
    """
    if held is None:
        return now
    formula, formula_now = as_loaded.kv_bytes_per_token, now.kv_bytes_per_token
    a_token = held * formula_now / formula if formula and formula_now else held
    return replace(now, kv_bytes_per_token=int(a_token) if a_token.is_integer() else a_token)


def _as_measured(facts: Facts, steps: Sequence[Json]) -> Facts:
    """Return the facts with the measured bytes of cache per token, if a scheme changed the cache: they no
    longer follow from its shapes then."""
    found = [step["decoding"]["cache_bytes_a_token"] for step in steps if step["decoding"]]
    return replace(facts, kv_bytes_per_token=found[-1]) if found else facts


def _enforce(label: str, checks: list[Check]) -> None:
    """Raise NotApplied unless there is at least one check and all checks hold."""
    if not checks:
        raise NotApplied(f"{label}: the scheme offers no evidence")
    for one in checks:
        if not one.holds:
            raise NotApplied(f"{label}: {one.claim}: expected {one.expected}, found {one.found}")


def export(engine: Any, to: str) -> Exported:
    """Write the model to the directory ``to``, load it again, and check that both give the same logits.

    Raises Unsupported for packed weights and for other engines than transformers, NotApplied if the logits
    differ.
    """
    if not hasattr(engine.model, "save_pretrained"):
        raise Unsupported("only models of the transformers engine can be exported")
    if engine.split_work() is not None:
        raise Unsupported("one half of the model is in another process: export it before it is split")
    packed = sorted(
        {m.dtype for m in engine.census().matrices if m.module != "Linear" or m.dtype not in DENSE}
    )
    if packed:
        raise Unsupported(f"its weights are packed ({', '.join(packed)}): an export is of dense weights")
    engine.model.save_pretrained(to)
    again = type(engine.model).from_pretrained(to, dtype=engine.model.dtype, use_safetensors=True)
    again.eval().to(engine.device)
    probe = [number % 97 + 3 for number in range(PROBE_TOKENS)]
    ours = engine.logits(probe)
    engine.change(Changed(again))
    apart = float((engine.logits(probe) - ours).abs().max())
    _enforce("export", [check("largest difference of the logits", apart, apart <= 1e-4, "at most 0.0001")])
    return Exported(engine.parameters(), logits_apart=apart)
