"""Describe the replies of a timed pass besides their times: characters, parts of the texts, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.engine import Engine
from bench.records import Solo
from bench.records.thinking import Markers, before_end, counted

MOST_TEXTS, TEXT_LETTERS = 64, 400  # what a result keeps of prompts and replies, for a reader to look at


def described(
    engine: Engine, batches: Sequence[Sequence[Sequence[int]]], found: Solo, markers: Markers | None
) -> Solo:
    """Return the pass with what its replies were. Random weights and encoders write no text, and
    nothing is added.

    The answers of a cascade are not counted: they come as a whole, and each model decodes as many tokens as
    the baseline, whatever the answer.
    """
    if engine.ENCODES or engine.facts().random_weights:
        return found
    prompts = [ids for batch in batches for ids in batch]
    replies = [ids for batch in found.batches for ids in batch.tokens]
    whole, ends = engine.WHOLE_ANSWERS, engine.end_ids()
    read = [engine.text(ids) for ids in prompts]
    both = zip(read[:MOST_TEXTS], replies, strict=False)
    answers = None
    if (whole or ends) and not found.cascaded:
        answers = tuple(
            counted(
                reply, ends, markers, whole=whole, opened=markers is not None and markers.open_after(prompt)
            )
            for prompt, reply in zip(prompts, replies, strict=True)
        )
    return replace(
        found,
        characters=(sum(map(len, read)), sum(len(engine.text(ids)) for ids in replies)),
        texts=tuple(
            (prompt[-TEXT_LETTERS:], engine.text(before_end(ids, ends))[:TEXT_LETTERS])
            for prompt, ids in both
        ),
        answers=answers,
    )
