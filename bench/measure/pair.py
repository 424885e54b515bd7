"""A variant beside its baseline: give both their processors for their turns, and measure drift."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from bench import plugins
from bench.drift.distribution import window_starts
from bench.machine.cores import halves
from bench.measure import encoders, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.passes import read_text
from bench.measure.together import ask_both, blaming_baseline, shared_block
from bench.records import DriftWindow, Sides

WINDOWS_A_CALL = 8
SHARED_BYTES = 16 * 1024 * 1024
FLOOR_WINDOWS = 3
FLOOR_EXTRA = 8  # tokens appended to a window: they change the shapes of all kernels and nothing else
FURTHER_FLOORS = ("threads", "batch")


@contextmanager
def pinned(base: ArmUnderTest, variant: ArmUnderTest, *, swapped: bool = False) -> Iterator[None]:
    """Give both workers their processors while they take turns.

    Two with a single thread share one processor, which gave the least noise in measurements
    (docs/decisions/0002). Two on a GPU get half of the cores each, so that neither wakes up where the other
    has been; ``swapped`` says which half. All others keep what they have.
    """
    everywhere = sorted(os.sched_getaffinity(0))
    places = _places(base, variant, everywhere)
    if not places:
        yield
        return
    sides = (variant, base) if swapped else (base, variant)
    for under, cpus in zip(sides, places, strict=True):
        under.worker.pin(cpus)
    try:
        yield
    finally:
        for under in sides:
            under.worker.pin(everywhere)


def _places(base: ArmUnderTest, variant: ArmUnderTest, everywhere: list[int]) -> tuple[list[int], ...]:
    """Return the processors of each side; nothing if they stay as they are."""
    if base.known.on_gpu and variant.known.on_gpu:
        parted = halves(everywhere)
        return parted if all(parted) else ()
    return (everywhere[-1:], everywhere[-1:]) if _one_thread_each(base, variant) else ()


def _one_thread_each(base: ArmUnderTest, variant: ArmUnderTest) -> bool:
    single = base.known.threads == variant.known.threads == 1
    return single and not variant.known.on_gpu


def drift(base: ArmUnderTest, variant: ArmUnderTest) -> None:
    """Compare the variant's logits with the baseline's over evenly spread windows of the evaluation text. The
    logits go through shared memory. If drift cannot be measured, the reason is recorded instead."""
    if reason := why_no_drift(base, variant):
        return variant.record(drift_reason=reason)
    if variant.arm.runtime.task is not None:
        return encoders.drift(base, variant)
    with blaming_baseline():
        text = read_text(base)
    same_tokens = read_text(variant).digest == text.digest
    settings = variant.context.drift
    starts = window_starts(text.tokens, settings.window, settings.tokens)
    too_short = f"the evaluation text has {text.tokens} tokens, a window {settings.window}"
    if reason := _not_comparable(base, variant, same_tokens) if starts else too_short:
        return variant.record(drift_reason=reason)
    vocabulary = base.known.vocabulary
    rows = max(1, SHARED_BYTES // (4 * vocabulary))
    block = shared_block(rows * vocabulary * 4)
    try:
        for first in range(0, len(starts), WINDOWS_A_CALL):
            _score(base, variant, starts[first : first + WINDOWS_A_CALL], rows, block)
    finally:
        os.close(block)
    return None


def why_no_drift(base: ArmUnderTest, variant: ArmUnderTest) -> str | None:
    """Return why nothing is scored, as far as it is known before the text is read; None if it may be."""
    if not variant.context.drift.tokens:
        return "drift.tokens is 0"
    if base.known.random_weights or variant.known.random_weights:
        return "random weights have no quality to lose"
    if variant.cascade is not None:
        words = "a cascade has no distribution over the next token: one of two models answers each request"
        whose = "a server elsewhere" if variant.is_far else "the edge model"
        other = f"; {whose} has another tokenizer, so replies are compared as texts"
        return words if variant.cascade["same_tokens"] else words + other
    if variant.arm.runtime.task is None and 1 in (base.turns, variant.turns):
        return "an answer that comes as a whole has no logits to compare"
    return None


def _score(base: ArmUnderTest, variant: ArmUnderTest, starts: list[int], rows: int, block: int) -> None:
    context = variant.context
    context.pause()
    context.tell(Began(variant.title, f"drift, text from token {starts[0]}"))
    ours, theirs = ask_both(
        "score", base.worker, variant.worker, context.measure.timeout_s, shared=block,
        starts=starts, window=context.drift.window, rows=rows, vocabulary=base.known.vocabulary,
        ahead=_one_thread_each(base, variant),
        more={name: plugins.module_name("drift.statistics", name) for name in context.drift.statistics},
    )  # fmt: skip
    found = replies.read(replies.SCORE, theirs, variant.asked)
    replies.check_windows(found, len(starts), context.drift.window - 1)
    sent = replies.read(replies.SCORE, ours, base.asked)
    routed = Sides(sent.routed, found.routed)
    known: dict[str, object] = {}
    if len(sent.logits) == len(found.logits) > 0:
        known["logits"] = [asdict(Sides(sent.logits, found.logits))]
    if any((routed.baseline, routed.variant)):
        known["routed"] = [asdict(routed)]
    if found.memory is not None:
        known["drift_memory"] = found.memory
    variant.record(drift=found.windows, **known)


def floor(base: ArmUnderTest) -> None:
    """Measure the drift of the baseline against itself on a few windows: with other shapes, another number of
    threads, and in a batch. Nothing is measured where no drift is measured, or where the windows do not fit
    the model's context."""
    window, context = base.context.drift.window, base.known.context
    fits = context is None or window + FLOOR_EXTRA <= context
    if not base.context.drift.tokens or base.known.random_weights or not fits or base.turns == 1:
        return
    starts = window_starts(read_text(base).tokens, window, FLOOR_WINDOWS * window)
    if not starts:
        return
    base.record(floor=_again(base, starts, "shapes"))
    further = {how: found for how in FURTHER_FLOORS if (found := _again(base, starts, how))}
    if further:
        base.record(floors=further)


def _again(base: ArmUnderTest, starts: list[int], how: str) -> tuple[DriftWindow, ...]:
    """Return the windows computed again in other circumstances; none where the engine cannot."""
    window = base.context.drift.window
    found = base.stage(
        f"noise floor of drift, {how}",
        replies.FLOOR,
        starts=starts,
        window=window,
        extra=FLOOR_EXTRA,
        how=how,
    )
    if found.windows or how == "shapes":
        replies.check_windows(found, len(starts), window - 1)
    return found.windows


def together(under: ArmUnderTest) -> None:
    """Decode some requests alone and in a batch: a model's reply should not depend on its neighbours."""
    if not under.known.random_weights and under.turns > 1:
        under.record(together=under.stage("alone and in a batch", replies.TOGETHER))


def _not_comparable(base: ArmUnderTest, variant: ArmUnderTest, same_tokens: bool) -> str | None:
    if not same_tokens:
        return "another tokenizer than the baseline's: token-level drift is not defined"
    if base.known.vocabulary != variant.known.vocabulary:
        return f"vocabulary of {variant.known.vocabulary}, the baseline's is {base.known.vocabulary}"
    for under in (base, variant):
        context, window = under.known.context, under.context.drift.window
        if context is not None and window > context:
            return f"drift.window of {window} does not fit the context of {context} of {under.arm.name}"
    return None
