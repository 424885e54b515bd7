"""Score the choices of an item: the log-likelihood of each; untimed.

The log-likelihood of a choice is that of the tokens behind the beginning that all choices of the item share,
given everything before them (nats, summed over tokens, natural logarithm, float32). What the choices share
would add the same to all. If they share nothing, and the tokenizer puts no token before a text, an end token
stands there: else nothing would predict their first token.

An engine that keeps what it has read (``bench.engine.beginnings``) reads the beginning once for all choices
of an item. Any other engine reads each choice whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from bench.engine import Engine
from bench.engine.beginnings import ReadsOnce
from bench.errors import NonFiniteOutput
from bench.records import Json
from bench.worker.batches import in_common, of_one_length

MOST_BYTES = 1 << 30  # of the logits of one text
BATCH_BYTES = 1 << 28  # of the logits of texts that are read together
MOST_KEPT = 4096  # tokens behind which choices are read together, a copy for each choice
LEAST_SHARED = 4  # tokens; reading fewer once saves nothing
# Nats a token by which scores may differ, on average, when they are read in parts. SmolLM2-135M's differ by
# 0.03 to 0.04 in bfloat16, whose logits above 16 are multiples of 0.125.
NEARLY = 0.2
SCORES_ALIKE: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # in parts as a whole, where it was tried
Scores = tuple[float, ...]


class _Asked(NamedTuple):
    """An item as tokens: its choices, each with what stands before it, and how many tokens these share."""

    texts: tuple[tuple[int, ...], ...]
    shared: int

    @property
    def beginning(self) -> tuple[int, ...]:
        """Return what can be read once. The last shared token is read with each choice: it predicts what
        follows."""
        return self.texts[0][: self.shared - 1]

    @property
    def rests(self) -> list[tuple[int, ...]]:
        """Return what is read of each choice behind the beginning; its last token predicts nothing."""
        return [text[self.shared - 1 : -1] for text in self.texts]

    @property
    def owns(self) -> list[tuple[int, ...]]:
        """Return the tokens of each choice behind what is shared."""
        return [text[self.shared :] for text in self.texts]


def scores(engine: Engine, items: Sequence[Json]) -> list[Scores | None]:
    """Return the log-likelihood of each choice of each item; None for an item that does not fit the context,
    whose logits would take more than ``MOST_BYTES``, or whose first token nothing predicts."""
    facts = engine.facts()
    most = MOST_BYTES // (4 * facts.vocabulary)
    tokens = (_asked(engine, item, min(most, facts.context or most)) for item in items)
    asked = {place: one for place, one in enumerate(tokens) if one is not None}
    several = len(asked) > 1  # for one item, trying it first costs more than it saves
    found = _in_parts(engine, asked) if several else {}
    found |= _whole(engine, {place: one for place, one in asked.items() if place not in found})
    return [found.get(place) for place in range(len(items))]


def _asked(engine: Engine, item: Json, most: int) -> _Asked | None:
    """Return the tokens of an item; None if it cannot be scored."""
    begin = engine.begin_ids()
    texts = [(*begin, *engine.encode(item["prompt"] + choice)) for choice in item["choices"]]
    shared = _shared(texts)
    if not shared:
        before = predicts_first(engine)
        shared, texts = len(before), [(*before, *ids) for ids in texts]
    return _Asked(tuple(texts), shared) if shared and max(map(len, texts)) <= most else None


def _shared(texts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all texts have in common at their beginning, and none to its end: a choice that
    is the beginning of another needs a token of its own."""
    return min(in_common(texts), max(min(map(len, texts)) - 1, 0))


def predicts_first(engine: Engine) -> tuple[int, ...]:
    """Return the token that stands before a text so that something predicts its first token: what the
    tokenizer puts there by itself, or else an end token, as lm-eval does. It is empty without either."""
    return tuple(engine.begin_ids() or engine.end_ids()[:1])


# ---- each choice whole -------------------------------------------------------------------------------


def _whole(engine: Engine, asked: Mapping[int, _Asked]) -> dict[int, Scores]:
    """Return the scores of items, by their places. Choices of one token share their pass."""
    readers: dict[tuple[int, ...], dict[tuple[int, int], tuple[int, ...]]] = {}
    for place, one in asked.items():
        for n, (text, own) in enumerate(zip(one.texts, one.owns, strict=True)):
            readers.setdefault(text[:-1], {})[place, n] = own
    ln_p: dict[tuple[int, int], float] = {}
    reads = list(readers)
    for numbers in of_one_length(reads, BATCH_BYTES // (4 * engine.facts().vocabulary)):
        together = [reads[n] for n in numbers]
        for read, logits in zip(together, _logits(engine, together), strict=True):
            owns = readers[read]
            rows = log_softmax(logits[-max(map(len, owns.values())) :])
            ln_p |= {choice: _sum(rows[-len(own) :], own) for choice, own in owns.items()}
    return {place: tuple(ln_p[place, n] for n in range(len(one.texts))) for place, one in asked.items()}


def _logits(engine: Engine, texts: Sequence[Sequence[int]]) -> Iterator[Any]:
    """Yield the logits of each of some texts of one length, from one pass if the engine can."""
    batch = engine.logits_in_batch(texts) if len(texts) > 1 else None
    for n, ids in enumerate(texts):
        yield engine.logits(list(ids)) if batch is None else batch[n]


# ---- behind a beginning that is read once ------------------------------------------------------------


def _in_parts(engine: Engine, asked: Mapping[int, _Asked]) -> dict[int, Scores]:
    """Return the scores of the items whose choices share a beginning, if the engine can keep it.

    The first ones are scored whole too. If the two differ, the model does not read in parts as it reads a
    whole, and nothing is returned from then on.
    """
    found: dict[int, Scores] = {}
    if not isinstance(engine, ReadsOnce) or not SCORES_ALIKE.get(engine, True):
        return found
    places = [place for place, one in asked.items() if one.shared > LEAST_SHARED]
    places.sort(key=lambda place: max(map(len, asked[place].rests)))  # less padding
    for numbers in of_one_length([asked[place].beginning for place in places], MOST_KEPT):
        part = {places[n]: asked[places[n]] for n in numbers}
        kept = engine.read_beginnings([one.beginning for one in part.values()])
        if kept is None:
            return {}
        found |= _behind(engine, kept, part)
        if engine not in SCORES_ALIKE:
            SCORES_ALIKE[engine] = _alike(part, found, _whole(engine, part))
        if not SCORES_ALIKE[engine]:
            return {}
    return found


def _behind(engine: ReadsOnce, kept: Any, part: Mapping[int, _Asked]) -> dict[int, Scores]:
    """Return the scores of items whose beginnings are kept. Choices of one token share their pass."""
    reads = dict.fromkeys((n, rest) for n, one in enumerate(part.values()) for rest in one.rests)
    ln_p: dict[tuple[int, tuple[int, ...]], Any] = {}
    for some in _fitting(list(reads), len(next(iter(part.values())).beginning), engine.facts().vocabulary):
        logits = engine.logits_behind(kept, [n for n, _rest in some], [rest for _n, rest in some])
        ln_p |= {read: log_softmax(rows[: len(read[1])]) for read, rows in zip(some, logits, strict=True)}
    return {
        place: tuple(_sum(ln_p[n, rest], own) for rest, own in zip(one.rests, one.owns, strict=True))
        for n, (place, one) in enumerate(part.items())
    }


def _fitting(
    reads: Sequence[tuple[int, tuple[int, ...]]], begin: int, vocabulary: int
) -> Iterator[Sequence[tuple[int, tuple[int, ...]]]]:
    """Yield as many rests, each with the place of its beginning, as are read in one pass, or one."""
    longest = max(len(rest) for _place, rest in reads)
    count = max(min(MOST_KEPT // (begin + longest), BATCH_BYTES // (4 * vocabulary * longest)), 1)
    return (reads[start : start + count] for start in range(0, len(reads), count))


def _alike(part: Mapping[int, _Asked], some: Mapping[int, Scores], others: Mapping[int, Scores]) -> bool:
    """Return whether two scores of the same choices are nearly the same, on average."""
    apart = [
        abs(one - other) / len(own)
        for place, asked in part.items()
        for one, other, own in zip(some[place], others[place], asked.owns, strict=True)
    ]
    return fmean(apart) <= NEARLY


def _sum(ln_p: Any, tokens: Sequence[int]) -> float:
    return round(sum(float(row[token]) for row, token in zip(ln_p, tokens, strict=True)), 6)


def log_softmax(logits: Any) -> Any:
    """Return ln P of the next token for each row of logits. Raises NonFiniteOutput on NaN."""
    import torch

    low, high = logits.aminmax()
    if not bool(low.isfinite() & high.isfinite()):
        raise NonFiniteOutput("the model put out NaN or infinite logits on an item of a suite")
    return torch.log_softmax(logits, -1).cpu()
