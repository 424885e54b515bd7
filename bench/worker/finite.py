"""Look at the logits of every reply: a number that is none in the fifth request is not seen in the first."""

from __future__ import annotations

from collections.abc import Sequence

from bench.engine import Engine
from bench.errors import NonFiniteOutput
from bench.records import Solo

MOST_LOGITS = 1 << 26  # of one look: 256 MiB in float32


def must_be_finite(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], solo: Solo) -> None:
    """Score every prompt with its reply, untimed. Raises NonFiniteOutput, which names the request.

    Of a text with more than ``MOST_LOGITS`` logits the beginning is looked at. A whole answer has no logits;
    an encoder has its outputs in their place.
    """
    if engine.WHOLE_ANSWERS and not engine.ENCODES:
        return
    most = max(MOST_LOGITS // max(engine.facts().vocabulary, 1), 1)
    prompts = [prompt for batch in batches for prompt in batch]
    replies = [reply for batch in solo.batches for reply in batch.tokens]
    for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True), start=1):
        if not engine.finite([*prompt, *reply[:-1]][:most]):
            raise NonFiniteOutput(
                f"the model put out NaN or infinite logits in request {number} of {len(prompts)}"
            )
