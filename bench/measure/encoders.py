"""Measure the drift of an encoder: it and its baseline encode the same texts, and the outputs are compared.

Nothing is timed here. The texts are sent in several calls, so that an interrupt waits for one call at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.drift import encoded
from bench.drift.retrieval import TextSet, set_for
from bench.measure import replies
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.together import ask_each, blaming_baseline
from bench.records import Encodings

TEXTS_A_CALL = 64
FLOOR_TEXTS, FLOOR_AT_ONCE = 64, 8  # the noise floor compares the baseline's texts alone and in batches


def drift(base: ArmUnderTest, variant: ArmUnderTest) -> None:
    """Compare the outputs of both sides, each text alone, or record why they cannot be compared."""
    task = str(variant.arm.runtime.task)
    texts = set_for(task, variant.context.drift.items)
    sides = [_both(base, variant, part) for part in _parts(texts.texts)]
    of_base, of_variant = (_joined([pair[side] for pair in sides]) for side in (0, 1))
    if task != "embedding":
        return _record_labels(variant, texts, of_base, of_variant)
    compared = encoded.embedded(texts, of_base, of_variant)
    in_batches = _in_batches(base, texts.texts[:FLOOR_TEXTS])
    alone = replace(of_base, outputs=of_base.outputs[:FLOOR_TEXTS])
    return variant.record(encoded=replace(compared, floor=encoded.same(alone, in_batches)))


def _record_labels(variant: ArmUnderTest, texts: TextSet, of_base: Encodings, of_variant: Encodings) -> None:
    """Compare the labels of two classifiers, or record why their labels cannot be compared."""
    try:
        compared = encoded.labelled(texts, of_base, of_variant)
    except ValueError as bad:
        return variant.record(drift_reason=str(bad))
    return variant.record(encoded=compared)


def _both(base: ArmUnderTest, variant: ArmUnderTest, texts: Sequence[str]) -> tuple[Encodings, Encodings]:
    """Let both sides encode some texts, each text by itself, both sides at the same time."""
    context = variant.context
    context.pause()
    context.tell(Began(variant.title, f"drift, {len(texts)} texts"))
    asked = {"texts": list(texts), "at_once": 1}
    do = replies.ENCODE.do
    results = ask_each(do, base.worker, variant.worker, context.measure.timeout_s, asked, asked)
    with blaming_baseline():
        of_base = replies.read(replies.ENCODE, results[0], base.asked)
        replies.check_encodings(of_base, len(texts))
    of_variant = replies.read(replies.ENCODE, results[1], variant.asked)
    replies.check_encodings(of_variant, len(texts))
    return of_base, of_variant


def _in_batches(base: ArmUnderTest, texts: Sequence[str]) -> Encodings:
    """Return the baseline's outputs for some texts in batches, where shorter texts are padded."""
    with blaming_baseline():
        asked = {"texts": list(texts), "at_once": FLOOR_AT_ONCE}
        encodings = base.stage("noise floor of drift, in batches", replies.ENCODE, **asked)
        replies.check_encodings(encodings, len(texts))
    return encodings


def _parts(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + TEXTS_A_CALL] for start in range(0, len(texts), TEXTS_A_CALL)]


def _joined(parts: Sequence[Encodings]) -> Encodings:
    rows = tuple(row for part in parts for row in part.outputs)
    return replace(parts[0], outputs=rows, cut=sum(part.cut for part in parts))
