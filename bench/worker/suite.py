"""Ask a model the items of a behaviour suite: log-likelihoods of choices, or greedy replies; untimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.engine import Engine
from bench.engine.decoding import until_ended
from bench.records import Json, SuiteAnswers
from bench.records.thinking import before_end
from bench.worker import choices, shared_beginnings
from bench.worker.batches import passes
from bench.worker.shared_beginnings import decoded


def answered(engine: Engine, items: Sequence[Json], tokens: int) -> SuiteAnswers:
    """Answer each item by a reply of so many ``tokens``, or with 0 by the likelihood of its choices."""
    if tokens:
        return SuiteAnswers("", replies=tuple(replies(engine, items, tokens)))
    return SuiteAnswers("", scores=tuple(choices.scores(engine, items)))


def replies(engine: Engine, items: Sequence[Json], tokens: int) -> list[str | None]:
    """Return the greedy reply to each item, up to ``tokens`` tokens or the end token; None for an item that
    does not fit the context."""
    prompts = [prompt_of(engine, item) for item in items]
    found: list[str | None] = [None] * len(items)
    context = engine.facts().context
    engine.longest_answer(tokens)
    fit = [n for n, ids in enumerate(prompts) if context is None or len(ids) + tokens <= context]
    for place, ids in shared_beginnings.replies(engine, {n: prompts[n] for n in fit}, tokens).items():
        found[place] = engine.text(ids)
    left = [n for n in fit if found[n] is None]
    for places in passes(engine, [prompts[n] for n in left]):
        some = [left[n] for n in places]
        for place, ids in zip(some, decoded(engine, [prompts[n] for n in some], tokens), strict=True):
            found[place] = engine.text(ids)
    return found


def prompt_of(engine: Engine, item: Mapping[str, Any]) -> list[int]:
    """Return the tokens of an item's prompt, in the chat template where its suite asks so."""
    if item.get("chat"):
        return engine.encode_chat(item["prompt"])
    return [*engine.begin_ids(), *engine.encode(item["prompt"])]


class WatchedReply(NamedTuple):
    """The tokens of a prompt and of a reply, up to its end, and what the engine watched at each step."""

    prompt: list[int]
    ids: list[int]
    steps: list[Any]


def watched_reply(engine: Engine, item: Mapping[str, Any], tokens: int) -> WatchedReply | None:
    """Return the reply to one item of an engine that watches its steps; None if the item does not fit the
    context."""
    prompt, context = prompt_of(engine, item), engine.facts().context
    if context is not None and len(prompt) + tokens > context:
        return None
    generation = until_ended(engine, [prompt], tokens)
    ids = list(before_end(engine.tokens(generation)[0], set(engine.end_ids())))
    return WatchedReply(prompt, ids, engine.watched(generation)[0][: len(ids) + 1])
