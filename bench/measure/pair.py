"""A variant beside its baseline: the duet, for ratios, and the drift pass."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine import noise
from bench.measure import replies
from bench.measure.arm import ArmUnderTest, read_text
from bench.measure.together import ask_both, blaming_baseline, shared_block
from bench.stats.intervals import ratio_interval

WINDOWS_A_CALL = 8
SHARED_BYTES = 16 * 1024 * 1024
FLOOR_WINDOWS = 3


def duet(base: ArmUnderTest, variant: ArmUnderTest) -> None:
    """Rounds of the workload decoded in turns until the cost ratio's interval is narrow enough.

    Stopping looks at the width alone, never at where the interval lies.
    """
    if base.arm.workload != variant.arm.workload:
        variant.bench.say(variant.arm.name, "no duet: another workload than the baseline's")
        return
    if not variant.bench.duets:
        return
    settings, rng = variant.bench.measure, random.Random(variant.bench.measure.seed)
    ours: list[float] = []
    theirs: list[float] = []
    rounds, voids_left = 0, settings.max_rounds
    with pinned_together(base, variant):
        while rounds < settings.max_rounds and _half_width(ours, theirs) > settings.max_half_width:
            pairs = _round(base, variant, rounds + 1, rng, may_void=voids_left > 0)
            rounds, voids_left = rounds + bool(pairs), voids_left - (not pairs)
            ours += [sum(a) for a, _ in pairs]
            theirs += [sum(b) for _, b in pairs]


def _round(
    base: ArmUnderTest, variant: ArmUnderTest, number: int, rng: random.Random, may_void: bool
) -> list[tuple[list[int], list[int]]]:
    """One pass over the workload; every turn's order is a coin of its own. Empty when others used the
    machine meanwhile: the round is void, whatever it showed, as long as ``may_void``."""
    bench, turns = variant.bench, variant.arm.workload.output_tokens
    bench.pause()
    bench.say(variant.arm.name, f"duet with {base.arm.name}, round {number}")
    firsts = [[rng.randrange(2) for _ in range(turns)] for _ in range(variant.batches)]
    ours = [base.worker.pid, variant.worker.pid]
    before = noise.read_ticks(ours)
    a, b = ask_both(
        "duet", base.worker, variant.worker, bench.measure.timeout_s,
        batches=list(range(variant.batches)), firsts=firsts,
    )  # fmt: skip
    with blaming_baseline():
        replies.check_duet(a, variant.batches, turns)
    replies.check_duet(b, variant.batches, turns)
    after = noise.read_ticks(ours)
    void = may_void and noise.disturbed(before, after)
    pairs = [] if void else list(zip(a["durations_ns"], b["durations_ns"], strict=True))
    variant.record(
        duet=[{"baseline_ns": x, "variant_ns": y} for x, y in pairs],
        noise=[noise.between("duet, void" if void else "duet", before, after)],
    )
    return pairs


def _half_width(ours: list[float], theirs: list[float]) -> float:
    """Half the 95 % interval of the ratio, as a share of it; infinite before the first round."""
    if not ours:
        return math.inf
    interval = ratio_interval(theirs, ours)
    if interval.low is None or interval.high is None:
        return math.inf
    return (interval.high - interval.low) / 2 / interval.value


@contextmanager
def pinned_together(base: ArmUnderTest, variant: ArmUnderTest) -> Iterator[None]:
    """Two single-threaded workers share one processor: measured to be the quietest design."""
    single = base.facts.get("threads") == variant.facts.get("threads") == 1
    if not single or variant.facts.get("device") != "cpu":
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


def drift(base: ArmUnderTest, variant: ArmUnderTest) -> None:
    """KL and its companions over evenly spread windows of the text, logits through shared memory."""
    if not variant.bench.drift.tokens:
        return variant.record(drift_reason="drift.tokens is 0")
    if base.facts["random_weights"] or variant.facts["random_weights"]:
        return variant.record(drift_reason="random weights have no quality to lose")
    if not base.corpus:
        with blaming_baseline():
            read_text(base)
            _floor(base)
    read_text(variant)
    starts = window_starts(int(base.corpus["tokens"]), variant.bench.drift.window, variant.bench.drift.tokens)
    reason = _not_comparable(base, variant) if starts else _too_short(base)
    if reason:
        return variant.record(drift_reason=reason)
    vocabulary = int(base.facts["vocabulary"])
    rows = max(1, SHARED_BYTES // (4 * vocabulary))
    block = shared_block(rows * vocabulary * 4)
    try:
        for first in range(0, len(starts), WINDOWS_A_CALL):
            _score(base, variant, starts[first : first + WINDOWS_A_CALL], rows, block)
    finally:
        os.close(block)
    return None


def _score(base: ArmUnderTest, variant: ArmUnderTest, starts: list[int], rows: int, block: int) -> None:
    bench = variant.bench
    bench.pause()
    bench.say(variant.arm.name, f"drift, text from token {starts[0]}")
    _none, theirs = ask_both(
        "score", base.worker, variant.worker, bench.measure.timeout_s, shared=block,
        starts=starts, window=bench.drift.window, rows=rows, vocabulary=base.facts["vocabulary"],
    )  # fmt: skip
    replies.check_windows("score", theirs, len(starts), bench.drift.window - 1)
    variant.record(drift=theirs["windows"])


def _floor(base: ArmUnderTest) -> None:
    """The baseline against itself, on a few windows."""
    starts = window_starts(
        int(base.corpus["tokens"]), base.bench.drift.window, FLOOR_WINDOWS * base.bench.drift.window
    )
    if not starts:
        return
    found = base.stage("noise floor of drift", "floor", starts=starts, window=base.bench.drift.window)
    replies.check_windows("floor", found, len(starts), base.bench.drift.window - 1)
    base.record(floor=found["windows"])


def _not_comparable(base: ArmUnderTest, variant: ArmUnderTest) -> str | None:
    if base.corpus["digest"] != variant.corpus["digest"]:
        return "another tokenizer than the baseline's: token-level drift is not defined"
    if base.facts["vocabulary"] != variant.facts["vocabulary"]:
        return f"vocabulary of {variant.facts['vocabulary']}, the baseline's is {base.facts['vocabulary']}"
    for under in (base, variant):
        context, window = under.facts.get("context"), under.bench.drift.window
        if context is not None and window > context:
            return f"drift.window of {window} does not fit the context of {context} of {under.arm.name}"
    return None


def _too_short(base: ArmUnderTest) -> str:
    return f"the evaluation text has {base.corpus['tokens']} tokens, a window {base.bench.drift.window}"


def window_starts(length: int, window: int, tokens: int) -> list[int]:
    """First tokens of as many whole windows as ``tokens`` holds (one at least), spread evenly, none
    overlapping; empty when the text has not one window."""
    count = min(max(tokens // window, 1), length // window)
    return [round(i * (length - window) / max(count - 1, 1)) for i in range(count)]
