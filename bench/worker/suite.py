"""Ask a model the items of a behaviour suite: log-likelihoods of choices, or greedy replies; untimed.

The log-likelihood of a choice is that of the tokens behind the beginning that all choices of the item share,
given everything before them (nats, summed over tokens, natural logarithm, float32). What the choices share
would add the same to all. If they share nothing, and the tokenizer puts no token before a text, an end token
stands there: else nothing would predict their first token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from bench.engine import Engine
from bench.engine.decoding import until_ended
from bench.errors import NonFiniteOutput, Unsupported
from bench.records import Json, SuiteAnswers
from bench.records.thinking import before_end
from bench.worker import shared_beginnings
from bench.worker.shared_beginnings import decoded

TOGETHER = 8  # texts read or replied to together, with the same number of tokens: so nothing is padded
MOST_PADDED = 4096  # tokens of prompts of several lengths that are read in one pass
MOST_BYTES = 1 << 30  # of the logits of one text
BATCH_BYTES = 1 << 28  # of the logits of texts that are read together
PADS: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # what was found out about padding


def answered(engine: Engine, items: Sequence[Json], tokens: int) -> SuiteAnswers:
    """Answer each item by a reply of so many ``tokens``, or with 0 by the likelihood of its choices."""
    if tokens:
        return SuiteAnswers("", replies=tuple(replies(engine, items, tokens)))
    return SuiteAnswers("", scores=tuple(scores(engine, items)))


class _Choice(NamedTuple):
    """A choice of an item: its ``place`` (item, choice), the tokens that are read, and its own tokens, behind
    what the choices share. The last rows of logits predict these."""

    place: tuple[int, int]
    read: tuple[int, ...]
    own: tuple[int, ...]


def scores(engine: Engine, items: Sequence[Json]) -> list[tuple[float, ...] | None]:
    """Return the log-likelihood of each choice of each item; None for an item that does not fit the context,
    whose logits would take more than ``MOST_BYTES``, or whose first token nothing predicts."""
    facts = engine.facts()
    most = MOST_BYTES // (4 * facts.vocabulary)
    asked = [_choices(engine, item, n, min(most, facts.context or most)) for n, item in enumerate(items)]
    texts: dict[tuple[int, ...], list[_Choice]] = {}  # choices of one token share their pass
    for choice in (choice for choices in asked for choice in choices):
        texts.setdefault(choice.read, []).append(choice)
    ln_p: dict[tuple[int, int], float] = {}
    reads = list(texts)
    for places in _of_one_length(reads, BATCH_BYTES // (4 * facts.vocabulary)):
        together = [reads[n] for n in places]
        for read, logits in zip(together, _logits(engine, together), strict=True):
            rows = log_softmax(logits[-max(len(choice.own) for choice in texts[read]) :])
            for place, _read, own in texts[read]:
                each = zip(rows[-len(own) :], own, strict=True)
                ln_p[place] = round(sum(float(row[token]) for row, token in each), 6)
    return [tuple(ln_p[choice.place] for choice in choices) or None for choices in asked]


def _choices(engine: Engine, item: Json, number: int, most: int) -> list[_Choice]:
    """Return the choices of an item; none if it cannot be scored."""
    begin = engine.begin_ids()
    texts = [[*begin, *engine.encode(item["prompt"] + choice)] for choice in item["choices"]]
    first = _shared(texts)
    if not first:
        before = predicts_first(engine)
        first, texts = len(before), [[*before, *ids] for ids in texts]
    if not first or max(map(len, texts)) > most:
        return []
    return [  # the last token predicts nothing
        _Choice((number, n), tuple(ids[:-1]), tuple(ids[first:])) for n, ids in enumerate(texts)
    ]


def _logits(engine: Engine, texts: Sequence[Sequence[int]]) -> Iterator[Any]:
    """Yield the logits of each of some texts of one length, from one pass if the engine can."""
    batch = engine.logits_in_batch(texts) if len(texts) > 1 else None
    for n, ids in enumerate(texts):
        yield engine.logits(list(ids)) if batch is None else batch[n]


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


def log_softmax(logits: Any) -> Any:
    """Return ln P of the next token for each row of logits. Raises NonFiniteOutput on NaN."""
    import torch

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
    fit = [n for n, ids in enumerate(prompts) if context is None or len(ids) + tokens <= context]
    for place, ids in shared_beginnings.replies(engine, {n: prompts[n] for n in fit}, tokens).items():
        found[place] = engine.text(ids)
    left = [n for n in fit if found[n] is None]
    for places in _passes(engine, [prompts[n] for n in left]):
        some = [left[n] for n in places]
        for place, ids in zip(some, decoded(engine, [prompts[n] for n in some], tokens), strict=True):
            found[place] = engine.text(ids)
    return found


def prompt_of(engine: Engine, item: Mapping[str, Any]) -> list[int]:
    """Return the tokens of an item's prompt, in the chat template where its suite asks so."""
    if item.get("chat"):
        return engine.encode_chat(item["prompt"])
    return [*engine.begin_ids(), *engine.encode(item["prompt"])]


def _of_one_length(prompts: Sequence[Sequence[int]], most: float = math.inf) -> Iterator[list[int]]:
    """Yield the places of up to ``TOGETHER`` prompts that have the same length, and together at most ``most``
    tokens, or of one."""
    lengths: dict[int, list[int]] = {}
    for place, ids in enumerate(prompts):
        lengths.setdefault(len(ids), []).append(place)
    for length, places in lengths.items():
        count = int(max(min(TOGETHER, most // max(length, 1)), 1))
        yield from (places[start : start + count] for start in range(0, len(places), count))


def _passes(engine: Engine, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of prompts that are replied to together: of one length, or padded if the engine pads
    and decodes a padded prompt as it is alone. A step reads all weights, so many replies take as long as one.
    """
    if prompts and engine.drafted(prompts[0], 1) is not None:  # one sequence at a time
        yield from ([place] for place in range(len(prompts)))
    elif not prompts or not _pads(engine):
        yield from _of_one_length(prompts)
    else:
        yield from _padded(prompts)


def _padded(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of prompts of similar lengths, with at most ``MOST_PADDED`` tokens, padding included,
    or of one."""
    part: list[int] = []
    for place in sorted(range(len(prompts)), key=lambda place: len(prompts[place])):
        if part and (len(part) + 1) * len(prompts[place]) > MOST_PADDED:
            yield part
            part = []
        part.append(place)
    yield part


def _pads(engine: Engine) -> bool:
    """Return whether an engine pads prompts and decodes them as alone. It is tried once, and not where
    another shape would be compiled first."""
    if engine not in PADS:
        try:
            checks = [] if engine.compiled_graphs() else engine.as_batched()
        except Unsupported:
            checks = []
        PADS[engine] = bool(checks) and all(check.holds for check in checks)
    return PADS[engine]


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
