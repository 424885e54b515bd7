"""Measure the drift of a variant: both sides read the same text, and what they expect next is compared."""

from __future__ import annotations

import os
from dataclasses import asdict

from bench import plugins
from bench.drift.kl_and_perplexity import window_starts
from bench.measure import encoders, replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.pair_processors import one_thread_each
from bench.measure.passes import read_text
from bench.measure.together import ask_both, blaming_baseline, shared_block
from bench.records import DriftWindow, Sides
from bench.records.drift import OTHER_TOKENIZER

WINDOWS_A_CALL = 8
SHARED_BYTES = 16 * 1024 * 1024
FLOOR_WINDOWS = 3
FLOOR_EXTRA = 8  # tokens appended to a window: they change the shapes of all kernels and nothing else
FURTHER_FLOORS = ("threads", "batch")


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
    if base.known.random_weights or variant.known.random_weights:
        return "random weights have no quality to lose"
    if not variant.context.drift.tokens:
        return "drift.tokens is 0"
    if variant.cascade is not None:
        words = "a cascade has no distribution over the next token: one of two models answers each request"
        whose = "a server elsewhere" if variant.is_far else "the edge model"
        other = f"; {whose} has another tokenizer, so replies are compared as texts"
        return words if variant.cascade["same_tokens"] else words + other
    if variant.arm.runtime.task is None and 1 in (base.turns, variant.turns):
        return "an answer that comes as a whole has no logits to compare"
    return None


def _score(base: ArmUnderTest, variant: ArmUnderTest, starts: list[int], rows: int, block: int) -> None:
    """Compare the logits of some windows through the shared ``block`` of ``rows`` rows, and record them."""
    context = variant.context
    context.pause()
    context.tell(Began(variant.title, f"drift, text from token {starts[0]}"))
    base_reply, variant_reply = ask_both(
        "score", base.worker, variant.worker, context.measure.timeout_s, shared=block,
        starts=starts, window=context.drift.window, rows=rows, vocabulary=base.known.vocabulary,
        ahead=one_thread_each(base, variant),
        more={name: plugins.module_name("drift.statistics", name) for name in context.drift.statistics},
    )  # fmt: skip
    compared = replies.read(replies.SCORE, variant_reply, variant.asked)
    replies.check_windows(compared, len(starts), context.drift.window - 1)
    sent = replies.read(replies.SCORE, base_reply, base.asked)
    routed = Sides(sent.routed, compared.routed)
    optional: dict[str, object] = {}
    if len(sent.logits) == len(compared.logits) > 0:
        optional["logits"] = [asdict(Sides(sent.logits, compared.logits))]
    if (read := Sides(sent.activations, compared.activations)) != Sides(None, None):
        optional["activations"] = [asdict(read)]
    if any((routed.baseline, routed.variant)):
        optional["routed"] = [asdict(routed)]
    if compared.memory is not None:
        optional["drift_memory"] = compared.memory
    variant.record(drift=compared.windows, **optional)


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
    further = {how: windows for how in FURTHER_FLOORS if (windows := _again(base, starts, how))}
    if further:
        base.record(floors=further)


def _again(base: ArmUnderTest, starts: list[int], how: str) -> tuple[DriftWindow, ...]:
    """Return the windows computed again in other circumstances; none where the engine cannot."""
    window = base.context.drift.window
    reply = base.stage(
        f"noise floor of drift, {how}",
        replies.FLOOR,
        starts=starts,
        window=window,
        extra=FLOOR_EXTRA,
        how=how,
    )
    if reply.windows or how == "shapes":
        replies.check_windows(reply, len(starts), window - 1)
    return reply.windows


def together(row: ArmUnderTest) -> None:
    """Decode some requests alone and in a batch: a model's reply should not depend on its neighbours."""
    if not row.known.random_weights and row.turns > 1:
        row.record(together=row.stage("alone and in a batch", replies.TOGETHER))


def _not_comparable(base: ArmUnderTest, variant: ArmUnderTest, same_tokens: bool) -> str | None:
    """Return why the logits of both sides cannot be compared position by position; None if they can."""
    if not same_tokens:
        return f"{OTHER_TOKENIZER}: token-level drift is not defined"
    if base.known.vocabulary != variant.known.vocabulary:
        return f"vocabulary of {variant.known.vocabulary}, the baseline's is {base.known.vocabulary}"
    for side in (base, variant):
        context, window = side.known.context, side.context.drift.window
        if context is not None and window > context:
            return f"drift.window of {window} does not fit the context of {context} of {side.arm.name}"
    return None
