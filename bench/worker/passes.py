"""Run the passes that a worker does alone: warm-up, timed requests and memory. Energy is in ``joules``.

In a timed region only the engine's own calls and ``perf_counter_ns`` run. Garbage collection is off, and
nothing is logged, printed, sent or written.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

from bench.engine import Engine, memory
from bench.errors import Outcome, VariantFailed
from bench.records import DeviceTimes, MemoryPeaks, Solo, TimedBatch, WarmUp
from bench.worker.own_time import Elsewhere

STEADY_WITHIN = 0.05
MAX_WARMUP = 6
DEVICE_BATCHES = 4


@dataclass(frozen=True)
class Timed:
    """One batch of requests: when it was sent, when each token was ready, and when it ended (ns)."""

    sent_ns: int
    stamps_ns: tuple[int, ...]
    end_ns: int
    tokens: list[list[int]]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Collect garbage before the block, and not during it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed_request(engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int) -> Timed:
    """Decode ``new_tokens`` for each prompt, with a time stamp per token. The tokens are read after the last
    stamp, so that reading them is not timed."""
    synchronise, step = engine.synchronise, engine.step
    stamps = [0] * new_tokens
    sent = perf_counter_ns()
    generation = engine.prefill(prompts, new_tokens)
    synchronise()
    stamps[0] = perf_counter_ns()
    for index in range(1, new_tokens):
        step(generation)
        synchronise()
        stamps[index] = perf_counter_ns()
    end = perf_counter_ns()
    return Timed(sent, tuple(stamps), end, engine.tokens(generation))


def warm_up(
    engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int, least: int, most: int = MAX_WARMUP
) -> WarmUp:
    """Repeat one request until two in a row take the same time within 5 %, ``least`` to ``most`` times."""
    durations_ms: list[float] = []
    steady = False
    share: float | None = None
    with undisturbed():
        while len(durations_ms) < least or (not steady and len(durations_ms) < most):
            with Elsewhere(engine.programs) as elsewhere, elsewhere.counted():
                timed = timed_request(engine, prompts, new_tokens)
            share = elsewhere.share()
            durations_ms.append((timed.end_ns - timed.sent_ns) / 1e6)
            steady = len(durations_ms) > 1 and _close(durations_ms[-2], durations_ms[-1])
    return WarmUp(tuple(durations_ms), steady, durations_ms[0], elsewhere=share)


def _close(before: float, after: float) -> bool:
    return abs(after - before) <= STEADY_WITHIN * before


def compile_all(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], new_tokens: int) -> int:
    """Decode every batch once, untimed, so that an engine that compiles for each shape has seen all shapes.
    Nothing is decoded for an engine that has not compiled anything so far. Return the number of compiled
    graphs."""
    if not engine.compiled_graphs():
        return 0
    for batch in batches:
        timed_request(engine, batch, new_tokens)
    return engine.compiled_graphs()


def solo(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], new_tokens: int) -> Solo:
    """Time every batch once, one after the other, with nothing else running. Raises VariantFailed if the
    engine compiled something meanwhile: its time would not be the time of a step."""
    before = engine.compiled_graphs()
    engine.speculated()
    engine.cascaded()
    engine.split_work()
    with undisturbed():
        timed = [timed_request(engine, batch, new_tokens) for batch in batches]
    if more := engine.compiled_graphs() - before:
        raise VariantFailed(Outcome.RUN_ERROR, f"{more} graphs were compiled in the timed pass")
    start = timed[0].sent_ns
    batches_timed = tuple(_since(start, one, batch) for one, batch in zip(timed, batches, strict=True))
    return Solo(
        batches_timed,
        speculated=engine.speculated(),
        split=engine.split_work(),
        cascaded=engine.cascaded(),
    )


def _since(start_ns: int, timed: Timed, batch: Sequence[Sequence[int]]) -> TimedBatch:
    """Return the record of a batch, with its times since the start of the pass."""
    return TimedBatch(
        sent_ns=timed.sent_ns - start_ns,
        stamps_ns=tuple(stamp - start_ns for stamp in timed.stamps_ns),
        end_ns=timed.end_ns - start_ns,
        input_tokens=tuple(len(prompt) for prompt in batch),
        tokens=tuple(map(tuple, timed.tokens)),
    )


def device_pass(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], new_tokens: int) -> DeviceTimes:
    """Time prompts and steps by the device's own events, in a pass of their own: an event before and after
    each takes some microseconds. Return nothing where the device has no clock."""
    found = [laps for batch in batches[:DEVICE_BATCHES] if (laps := _device_laps(engine, batch, new_tokens))]
    return DeviceTimes(tuple(laps[0] for laps in found), tuple(tuple(laps[1:]) for laps in found))


def _device_laps(engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[int]:
    """Return the device's nanoseconds for the prompt and for each further token of one batch."""
    device = engine.runs_on
    events = device.events(2 * new_tokens)
    if not events:
        return []
    befores, afters = events[::2], events[1::2]
    with undisturbed():
        device.record(befores[0])
        generation = engine.prefill(prompts, new_tokens)
        device.record(afters[0])
        device.synchronise()
        for before, after in zip(befores[1:], afters[1:], strict=True):
            device.record(before)
            engine.step(generation)
            device.record(after)
            device.synchronise()
    return [device.elapsed_ns(*pair) for pair in zip(befores, afters, strict=True)]


def memory_pass(engine: Engine, batch: Sequence[Sequence[int]], new_tokens: int) -> MemoryPeaks:
    """Measure the peak memory of prefill and of decode, each with its own high-water mark, and the KV cache
    at the end; untimed."""
    memory.reset_peak(engine)
    generation = engine.prefill(batch, new_tokens)
    engine.synchronise()
    prefill = memory.read_peak(engine)
    memory.reset_peak(engine)
    for _ in range(1, new_tokens):
        engine.step(generation)
    engine.synchronise()
    return MemoryPeaks(prefill, decode=memory.read_peak(engine), cache=engine.cache_bytes(generation))
