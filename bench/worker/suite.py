"""Ask a model the items of a behaviour suite: log-likelihoods of choices, or greedy replies; untimed.

The log-likelihood of a choice is that of the tokens behind the beginning that all choices of the item share,
given everything before them (nats, summed over tokens, natural logarithm, float32). What the choices share
would add the same to all. If they share nothing, and the tokenizer puts no token before a text, an end token
stands there: else nothing would predict their first token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.engine import Engine
from bench.engine.decoding import until_ended
from bench.errors import NonFiniteOutput
from bench.records import Json, SuiteAnswers
from bench.records.thinking import before_end

TOGETHER = 8  # replies decoded together, of prompts with the same number of tokens: so nothing is padded
MOST_BYTES = 1 << 30  # of the logits of one text


def answered(engine: Engine, items: Sequence[Json], tokens: int) -> SuiteAnswers:
    """Answer each item by a reply of so many ``tokens``, or with 0 by the likelihood of its choices."""
    if tokens:
        return SuiteAnswers("", replies=tuple(replies(engine, items, tokens)))
    return SuiteAnswers("", scores=tuple(scores(engine, items)))


def scores(engine: Engine, items: Sequence[Json]) -> list[tuple[float, ...] | None]:
    """Return the log-likelihood of each choice of each item; None for an item that does not fit the context,
    whose logits would take more than ``MOST_BYTES``, or whose first token nothing predicts."""
    facts = engine.facts()
    most = MOST_BYTES // (4 * facts.vocabulary)
    return [_of_choices(engine, item, min(most, facts.context or most)) for item in items]


def _of_choices(engine: Engine, item: Json, most: int) -> tuple[float, ...] | None:
    begin = engine.begin_ids()
    texts = [[*begin, *engine.encode(item["prompt"] + choice)] for choice in item["choices"]]
    first = _shared(texts)
    if not first:
        before = predicts_first(engine)
        first, texts = len(before), [[*before, *ids] for ids in texts]
    if not first or max(map(len, texts)) > most:
        return None
    rows: dict[tuple[int, ...], Any] = {}
    found = []
    for ids in texts:
        read = tuple(ids[:-1])  # the last token predicts nothing
        if read not in rows:  # choices of one token share their pass
            rows[read] = log_softmax(engine, read, first - 1)
        ln_p = (float(row[token]) for row, token in zip(rows[read], ids[first:], strict=True))
        found.append(round(sum(ln_p), 6))
    return tuple(found)


def predicts_first(engine: Engine) -> tuple[int, ...]:
    """Return the token that stands before a text so that something predicts its first token: what the
    tokenizer puts there by itself, or else an end token, as lm-eval does. It is empty without either."""
    return tuple(engine.begin_ids() or engine.end_ids()[:1])


def _shared(texts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all texts have in common at their beginning, and none to its end: a choice that
    is the beginning of another needs a token of its own."""
    shortest = min(map(len, texts))
    differ = (n for n in range(shortest) if len({ids[n] for ids in texts}) > 1)
    return next(differ, max(shortest - 1, 0))


def log_softmax(engine: Engine, ids: Sequence[int], first: int) -> Any:
    """Return ln P of the next token at each position from ``first`` on. Raises NonFiniteOutput on NaN."""
    import torch

    logits = engine.logits(list(ids))[first:]
    low, high = logits.aminmax()
    if not bool(low.isfinite() & high.isfinite()):
        raise NonFiniteOutput("the model put out NaN or infinite logits on an item of a suite")
    return torch.log_softmax(logits, -1).cpu()


def replies(engine: Engine, items: Sequence[Json], tokens: int) -> list[str | None]:
    """Return the greedy reply to each item, up to ``tokens`` tokens or the end token; None for an item that
    does not fit the context."""
    prompts = [prompt_of(engine, item) for item in items]
    found: list[str | None] = [None] * len(items)
    context = engine.facts().context
    engine.longest_answer(tokens)
    for places in _of_one_length(prompts):
        if context is not None and len(prompts[places[0]]) + tokens > context:
            continue
        for place, ids in zip(places, _decoded(engine, [prompts[n] for n in places], tokens), strict=True):
            found[place] = engine.text(ids)
    return found


def prompt_of(engine: Engine, item: Mapping[str, Any]) -> list[int]:
    """Return the tokens of an item's prompt, in the chat template where its suite asks so."""
    if item.get("chat"):
        return engine.encode_chat(item["prompt"])
    return [*engine.begin_ids(), *engine.encode(item["prompt"])]


def _of_one_length(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of up to ``TOGETHER`` prompts that have the same length."""
    lengths: dict[int, list[int]] = {}
    for place, ids in enumerate(prompts):
        lengths.setdefault(len(ids), []).append(place)
    for places in lengths.values():
        yield from (places[start : start + TOGETHER] for start in range(0, len(places), TOGETHER))


def _decoded(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    ends = set(engine.end_ids())
    generation = until_ended(engine, prompts, tokens)
    return [list(before_end(ids, ends)) for ids in engine.tokens(generation)]


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
