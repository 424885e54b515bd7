"""Load the model of a worker, apply its optimisations, and read back what it has become."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType

from bench.engine import Engine, Options, Teacher, expert_counts, memory
from bench.engine.evidence import Check, check, touched
from bench.records import Facts, Json, Loaded, Mixture
from bench.worker import builds
from bench.worker.passes import undisturbed
from bench.worker.steps import DENSE, all_steps, apply, decode_a_little, enforce, is_cascade, scheme_of


def load(message: Json) -> tuple[Engine, Loaded]:
    """Load the model and apply its optimisations. Return the engine and what was read back from it.

    Raises Unsupported before a scheme that cannot run here is applied, and NotApplied if a check fails.
    """
    options = Options(**message["options"])
    runtime = importlib.import_module(message["runtime"])
    engine, loaded_s = _engine(runtime, options, message)
    facts = engine.facts()
    checks = [*engine.as_asked(options), *_as_packed(engine, facts)]
    if words := engine.reads():
        checks.append(check("what the model reads", words, True, words))
    held: float | None = None
    mixture: Mixture | None = None
    if message.get("step_by_step"):
        with expert_counts.watched(engine) as routed:
            of_decoding, held = engine.as_decoded()
        mixture = expert_counts.described(engine, None, routed.chosen)
        checks += [*of_decoding, *_as_batched(engine, message.get("batches"))]
    enforce("runtime", checks)
    teacher = _teacher(runtime, options, message)
    changes = [step for step in message["optimise"] if "edge" not in step]
    steps = [applied for step in changes for applied in apply(engine, step, facts, teacher)]
    engine, beside, edge_s = _on_top(engine, message)
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
        mixture=expert_counts.described(engine, mixture),
        as_unpacked=True,
    )


def _on_top(engine: Engine, message: Json) -> tuple[Engine, list[Json], float]:
    """Return the cascade that a load asks for (see ``cascades.on_top``), or the engine itself if it asks for
    none."""
    if not is_cascade(message):
        return engine, [], 0.0
    from bench.worker import cascades  # it imports much that no other worker needs

    return cascades.on_top(engine, message, load)


def _engine(runtime: ModuleType, options: Options, message: Json) -> tuple[Engine, float]:
    """Return the engine and the seconds that loading it took. Packages that no step needs are hidden
    meanwhile."""
    directory = Path(message["directory"])
    builds.watch()
    needed = {name for step in all_steps(message) for name in scheme_of(step).REQUIRES}
    with undisturbed():  # collecting the objects that an engine's imports create takes a second
        started = perf_counter_ns()
        not_needed: Callable[[Path], set[str]] = getattr(runtime, "not_needed", lambda _directory: set())
        with _hidden(not_needed(directory) - needed):
            engine: Engine = runtime.load(directory, options)
    return engine, (perf_counter_ns() - started) / 1e9


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


def _as_packed(engine: Engine, facts: Facts) -> list[Check]:
    """Check that at least half of the weights of a quantised checkpoint are still packed after decoding.

    Some loaders unpack them in the first forward pass, and some leave the experts of a mixture dense.
    """
    method = facts.quantised_checkpoint
    if method is None:
        return []
    decode_a_little(engine)
    census = engine.census(count_zeros=False)
    stored = [m for m in census.matrices if not m.is_head]
    packed = [m for m in stored if m.dtype not in DENSE]
    weights = census.packed_others + sum(m.weights for m in packed)
    dense = census.others + sum(m.weights for m in stored if m.dtype in DENSE)
    found = f"{len(packed)} of {len(stored)} packed ({', '.join(sorted({m.dtype for m in stored}))})"
    return [
        check(f"weights of the {method} checkpoint after decoding", found, weights > 0, "packed"),
        *touched(weights, dense, "are packed"),
    ]


def _as_batched(engine: Engine, batches: str | None) -> list[Check]:
    """Check a batch of the workload's kind: ``padded``, ``even``, or None for requests one by one."""
    return [] if batches is None else engine.as_batched(padded=batches == "padded")


def _teacher(runtime: ModuleType, options: Options, message: Json) -> Teacher:
    baseline = message.get("baseline", {"directory": message["directory"], "random": options.random})
    directory, as_ours = Path(baseline["directory"]), replace(options, random=baseline["random"])
    return Teacher(directory, lambda: runtime.load(directory, as_ours).model)


def _with_cache(now: Facts, as_loaded: Facts, held: float | None) -> Facts:
    """Return the facts with the bytes of cache per token corrected by ``held``, which was measured after
    loading.

    A scheme may have changed the shapes since then, so the ratio of measurement and formula is what is kept.
    """
    if held is None:
        return now
    formula, formula_now = as_loaded.kv_bytes_per_token, now.kv_bytes_per_token
    a_token = held * formula_now / formula if formula and formula_now else held
    return replace(now, kv_bytes_per_token=int(a_token) if a_token.is_integer() else a_token)


def _as_measured(facts: Facts, steps: Sequence[Json]) -> Facts:
    """Return the facts with the measured bytes of cache per token if a scheme changed the cache, because they
    then no longer follow from its shapes."""
    looked = [step["decoding"] for step in steps if step["decoding"]]
    if not looked:
        return facts
    grows, mean = looked[-1]["growth_bytes_a_token"], looked[-1]["cache_bytes_a_token"]
    if grows is None:
        return replace(facts, kv_bytes_per_token=mean)
    return replace(facts, kv_bytes_per_token=int(grows) if grows.is_integer() else grows)
