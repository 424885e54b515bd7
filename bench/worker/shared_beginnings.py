"""Reply to prompts with a long common beginning, which is read once.

The questions about one long text differ in their last tokens only. An engine that can keep what it has read
(``bench.engine.beginnings``) reads the text once, and each question behind a copy of it. Any other engine
reads each prompt whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from bench.engine import Engine
from bench.engine.beginnings import ReadsOnce
from bench.engine.decoding import to_its_end, until_ended
from bench.records.thinking import before_end

LEAST = 256  # tokens; reading a shorter beginning once saves less than replying to several prompts in a pass
READS_ALIKE: WeakKeyDictionary[Engine, bool] = (
    WeakKeyDictionary()
)  # in parts as a whole, where that was tried


def replies(engine: Engine, prompts: Mapping[int, Sequence[int]], tokens: int) -> dict[int, list[int]]:
    """Return the tokens of the replies to the prompts that share a long beginning with another, by place.

    An engine's first one is written from the whole prompt too. If the two differ, the model does not read in
    parts as it reads a whole, and nothing is returned from then on.
    """
    found: dict[int, list[int]] = {}
    if not isinstance(engine, ReadsOnce) or not READS_ALIKE.get(engine, True):
        return found
    for shared, places in groups(prompts):
        beginning = engine.read_beginning(prompts[places[0]][:shared])
        if beginning is None:
            return {}
        for place in places:
            generation = engine.prefill_behind(beginning, prompts[place][shared:], tokens)
            (found[place],) = _until_end(engine, to_its_end(engine, generation, tokens))
        if engine not in READS_ALIKE:
            whole = decoded(engine, [prompts[places[0]]], tokens)
            READS_ALIKE[engine] = whole == [found[places[0]]]
        if not READS_ALIKE[engine]:
            return {}
    return found


def groups(prompts: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, list[int]]]:
    """Yield (number of tokens that they share, places) of prompts with a long common beginning, shortest
    texts first. Each prompt has a token behind it."""
    found: list[tuple[int, list[int]]] = []
    for place in sorted(prompts, key=lambda one: list(prompts[one])):
        ids = prompts[place]
        shared, others = found[-1] if found else (0, [])
        same = _shared(prompts[others[0]], ids, shared) if found else 0
        if same >= max(LEAST, shared // 2):
            found[-1] = same, [*others, place]
        elif len(ids) > LEAST:
            found.append((len(ids) - 1, [place]))
    several = ((shared, sorted(places)) for shared, places in found if len(places) > 1)
    yield from sorted(several)


def _shared(first: Sequence[int], ids: Sequence[int], most: int) -> int:
    """Return how many tokens two prompts have in common: at most ``most``, and not all of the second."""
    most = min(most, len(ids) - 1)
    return next((n for n in range(most) if first[n] != ids[n]), most)


def decoded(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Return the greedy replies to prompts that are read whole, each up to its end token."""
    return _until_end(engine, until_ended(engine, prompts, tokens))


def _until_end(engine: Engine, generation: object) -> list[list[int]]:
    ends = set(engine.end_ids())
    return [list(before_end(ids, ends)) for ids in engine.tokens(generation)]
