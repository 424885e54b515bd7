"""Answer the requests of lm-eval as its own model classes define them: likelihoods of texts, greedy replies.

A continuation is scored behind its context: both are encoded together, and the tokens beyond those of the
context alone belong to the continuation; spaces at the end of a context count as the continuation's. What is
longer than the model's context is cut at its beginning. Source: ``TemplateLM`` and ``HFLM`` of lm-eval 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.engine import Engine
from bench.engine.decoding import until_ended
from bench.records import RequestAnswers
from bench.records.thinking import before_end
from bench.worker.batches import TOGETHER
from bench.worker.choices import MOST_BYTES, log_softmax, predicts_first

USUAL_TOKENS = 256  # of a reply, where a task does not say how many
Likelihood = tuple[float, bool]


def answered(engine: Engine, kind: str, requests: Sequence[Any]) -> RequestAnswers:
    """Answer requests of one kind, as lm-eval names it."""
    if kind == "generate_until":
        return RequestAnswers(replies=tuple(replies(engine, requests)))
    return RequestAnswers(likelihoods=tuple(likelihoods(engine, requests)))


def likelihoods(engine: Engine, requests: Sequence[Sequence[str]]) -> list[Likelihood | None]:
    """Return (ln P, whether greedy decoding would write it) of each (context, continuation).

    It is None where the logits would take more than ``MOST_BYTES``, and where the continuation has no token
    of its own. Raises NonFiniteOutput on NaN.
    """
    rows: dict[tuple[int, ...], Any] = {}
    found: list[Likelihood | None] = []
    for context, continuation in requests:
        ids, count = _cut(engine, *_encoded(engine, context, continuation))
        read = tuple(ids[:-1])
        if count < 1 or 4 * len(read) * engine.facts().vocabulary > MOST_BYTES:
            found.append(None)
            continue
        if read not in rows:  # continuations of one token, behind one context, share their pass
            rows = {read: log_softmax(engine.logits(list(read)))}
        found.append(_likelihood(rows[read][len(read) - count :], ids[len(ids) - count :]))
    return found


def _likelihood(ln_p: Any, tokens: Sequence[int]) -> Likelihood:
    total = sum(float(row[token]) for row, token in zip(ln_p, tokens, strict=True))
    return round(total, 6), ln_p.argmax(-1).tolist() == list(tokens)


def _encoded(engine: Engine, context: str, continuation: str) -> tuple[list[int], int]:
    """Return the tokens of both texts, and how many of them are the continuation's."""
    if not context:
        tokens = engine.encode(continuation)
        return [*predicts_first(engine), *tokens], len(tokens)
    bare = context.rstrip()
    continuation, context = context[len(bare) :] + continuation, bare
    begin = list(engine.begin_ids())
    whole = [*begin, *engine.encode(context + continuation)]
    before = len(begin) + len(engine.encode(context))
    return whole, len(whole) - before


def _cut(engine: Engine, ids: list[int], count: int) -> tuple[list[int], int]:
    """Return the last tokens that fit the context: all but the last of them are read."""
    most = engine.facts().context
    if most is not None and len(ids) > most + 1:
        ids = ids[-(most + 1) :]
    return ids, min(count, len(ids) - 1)


def replies(engine: Engine, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str | None]:
    """Return the greedy reply to each context, up to the first of the texts in ``until``, the end token or
    ``max_gen_toks``; None where the context leaves no room."""
    found: list[str | None] = [None] * len(requests)
    alike: dict[tuple[int, int, tuple[str, ...]], list[tuple[int, list[int]]]] = {}
    for place, (context, settings) in enumerate(requests):
        most, stops = int(settings.get("max_gen_toks", USUAL_TOKENS)), _stops(settings)
        if (ids := _prompt(engine, context, most)) is not None:
            alike.setdefault((len(ids), most, stops), []).append((place, ids))
    for (_length, most, stops), asked in alike.items():
        engine.longest_answer(most)
        for start in range(0, len(asked), TOGETHER):
            part = asked[start : start + TOGETHER]
            texts = _decoded(engine, [ids for _place, ids in part], most, stops)
            for (place, _ids), text in zip(part, texts, strict=True):
                found[place] = text
    return found


def _stops(settings: Mapping[str, Any]) -> tuple[str, ...]:
    until = settings.get("until") or ()
    return tuple(filter(None, [until] if isinstance(until, str) else until))


def _prompt(engine: Engine, context: str, most: int) -> list[int] | None:
    """Return the tokens of a context, the last ones that leave room for a reply; None without any room."""
    ids, room = [*engine.begin_ids(), *engine.encode(context)], engine.facts().context
    if room is None or len(ids) + most <= room:
        return ids or None
    return ids[-(room - most) :] if most < room else None


def _decoded(
    engine: Engine, prompts: Sequence[Sequence[int]], most: int, stops: tuple[str, ...]
) -> list[str]:
    ends = set(engine.end_ids())

    def stopped(ids: Sequence[int]) -> bool:
        text = engine.text(ids)
        return any(stop in text for stop in stops)

    generation = until_ended(engine, prompts, most, stopped if stops else None)
    texts = [engine.text(list(before_end(ids, ends))) for ids in engine.tokens(generation)]
    return [_before(text, stops) for text in texts]


def _before(text: str, stops: tuple[str, ...]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text
