"""Turn the prompts of a workload into token ids: each prompt has some, and fits the model's context."""

from __future__ import annotations

from collections.abc import Sequence

from bench.engine import Engine
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.records import Json


def encoded(engine: Engine, prompts: Sequence[Json]) -> list[list[int]]:
    """Return the tokens of each prompt: a chat message in the model's template, a text cut to its length.

    Raises VariantFailed for a prompt without a token, and Unsupported for a message that is longer in its
    template than the model's context: the engine would read what no position is left for.
    """
    context = engine.facts().context if any(prompt["chat"] for prompt in prompts) else None
    return [_encoded(engine, prompt, context) for prompt in prompts]


def _encoded(engine: Engine, prompt: Json, context: int | None) -> list[int]:
    if not prompt["chat"]:
        ids = engine.read(prompt["text"], prompt["tokens"])
    else:
        ids = engine.encode_chat(prompt["text"])
        if context is not None and len(ids) > context:
            raise Unsupported(
                f"{len(ids)} tokens, which the chat template makes of a message of {len(prompt['text'])} "
                f"characters, do not fit the model's context of {context}"
            )
    if not ids:
        reason = "the model's tokenizer or chat template makes no tokens of a prompt"
        raise VariantFailed(Outcome.LOAD_ERROR, reason)
    return ids
