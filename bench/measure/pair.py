"""A variant beside its baseline: pin both to one processor for their turns, and measure drift."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench import plugins
from bench.drift.distribution import window_starts
from bench.measure import replies
from bench.measure.arm import ArmUnderTest, read_text
from bench.measure.events import Began
from bench.measure.together import ask_both, blaming_baseline, shared_block

WINDOWS_A_CALL = 8
SHARED_BYTES = 16 * 1024 * 1024
FLOOR_WINDOWS = 3
FLOOR_EXTRA = 8  # tokens appended to a window: they change the shapes of all kernels and nothing else


@contextmanager
def pinned_together(base: ArmUnderTest, variant: ArmUnderTest) -> Iterator[None]:
    """Pin two single-threaded workers to the same processor. This gave the least noise in measurements
    (docs/decisions/0002)."""
    if not _one_thread_each(base, variant):
        yield
        return
    everywhere = sorted(os.sched_getaffinity(0))
    for under in (base, variant):
        under.worker.pin(everywhere[-1:])
    try:
        yield
    finally:
        for under in (base, variant):
            under.worker.pin(everywhere)


def _one_thread_each(base: ArmUnderTest, variant: ArmUnderTest) -> bool:
    single = base.known.threads == variant.known.threads == 1
    return single and not variant.known.on_gpu


def drift(base: ArmUnderTest, variant: ArmUnderTest) -> None:
    """Compare the variant's logits with the baseline's over evenly spread windows of the evaluation text. The
    logits go through shared memory. If drift cannot be measured, the reason is recorded instead."""
    if not variant.context.drift.tokens:
        return variant.record(drift_reason="drift.tokens is 0")
    if base.known.random_weights or variant.known.random_weights:
        return variant.record(drift_reason="random weights have no quality to lose")
    if base.turns == 1 or variant.turns == 1:
        return variant.record(drift_reason="an answer that comes as a whole has no logits to compare")
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


def _score(base: ArmUnderTest, variant: ArmUnderTest, starts: list[int], rows: int, block: int) -> None:
    context = variant.context
    context.pause()
    context.tell(Began(variant.title, f"drift, text from token {starts[0]}"))
    _none, theirs = ask_both(
        "score", base.worker, variant.worker, context.measure.timeout_s, shared=block,
        starts=starts, window=context.drift.window, rows=rows, vocabulary=base.known.vocabulary,
        ahead=_one_thread_each(base, variant),
        more={name: plugins.module_name("drift.statistics", name) for name in context.drift.statistics},
    )  # fmt: skip
    found = replies.read(replies.SCORE, theirs, variant.asked)
    replies.check_windows(found, len(starts), context.drift.window - 1)
    variant.record(drift=found.windows)


def floor(base: ArmUnderTest) -> None:
    """Measure the drift of the baseline against itself on a few windows. Nothing is measured where no drift
    is measured, or where the windows do not fit the model's context."""
    window, context = base.context.drift.window, base.known.context
    fits = context is None or window + FLOOR_EXTRA <= context
    if not base.context.drift.tokens or base.known.random_weights or not fits or base.turns == 1:
        return
    starts = window_starts(read_text(base).tokens, window, FLOOR_WINDOWS * window)
    if not starts:
        return
    found = base.stage("noise floor of drift", replies.FLOOR, starts=starts, window=window, extra=FLOOR_EXTRA)
    replies.check_windows(found, len(starts), window - 1)
    base.record(floor=found.windows)


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
