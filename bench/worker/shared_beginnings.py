"""Reply to prompts with a common beginning, which is read once.

The questions about one long text differ in their last tokens only, and the prompts of a chat template begin
alike. An engine that can keep what it has read (``bench.engine.beginnings``) reads the beginning once, and
each question behind a copy of it. Any other engine reads each prompt whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from bench.engine import Engine
from bench.engine.beginnings import ReadsOnce
from bench.engine.decoding import to_its_end, until_ended
from bench.records.thinking import before_end
from bench.worker.batches import in_common, passes

LEAST = 256  # tokens that must be saved: a group of prompts of its own takes passes of its own
READS_ALIKE: WeakKeyDictionary[Engine, bool] = (
    WeakKeyDictionary()
)  # in parts as a whole, where that was tried


def replies(engine: Engine, prompts: Mapping[int, Sequence[int]], tokens: int) -> dict[int, list[int]]:
    """Return the tokens of the replies to the prompts that share a beginning with others, by place.

    One of an engine's first pass is written from the whole prompt too, the one with most padding. If the two
    differ, the model does not read in parts as it reads a whole, and nothing is returned from then on.
    """
    found: dict[int, list[int]] = {}
    if not isinstance(engine, ReadsOnce) or not READS_ALIKE.get(engine, True):
        return found
    for shared, places in groups(prompts):
        kept = engine.read_beginnings([prompts[places[0]][:shared]])
        if kept is None:
            return {}
        for some in _passes(engine, kept, {place: prompts[place] for place in places}, tokens):
            generation = engine.prefill_behind(kept, [prompts[place][shared:] for place in some], tokens)
            ids = _until_end(engine, to_its_end(engine, generation, tokens))
            found |= zip(some, ids, strict=True)
            if engine not in READS_ALIKE:
                place = min(some, key=lambda one: len(prompts[one]))
                READS_ALIKE[engine] = decoded(engine, [prompts[place]], tokens) == [found[place]]
            if not READS_ALIKE[engine]:
                return {}
    return found


def _passes(
    engine: ReadsOnce, kept: Any, prompts: Mapping[int, Sequence[int]], tokens: int
) -> Iterator[list[int]]:
    """Yield the places of prompts with one beginning that are replied to together."""
    places = list(prompts)
    may_pad = engine.pads_behind(kept, max(map(len, prompts.values())) + tokens)
    for numbers in passes(engine, list(prompts.values()), may_pad):
        yield [places[n] for n in numbers]


def groups(prompts: Mapping[int, Sequence[int]]) -> list[tuple[int, list[int]]]:
    """Return (number of tokens that they share, places) of prompts with a common beginning, shortest
    beginnings first. Each prompt has a token behind it.

    Sorted, prompts that begin alike stand side by side. The groups are runs of them which together save the
    most tokens, where each group counts ``LEAST`` against them.
    """
    order = sorted(prompts, key=lambda one: list(prompts[one]))
    ids = [prompts[place] for place in order]
    alike = [in_common(two) for two in pairwise(ids)]
    best: list[tuple[int, list[tuple[int, list[int]]]]] = [(0, [])]  # tokens saved, groups, of the first n
    for end, last in enumerate(ids):
        found, shared = best[end], len(last) - 1
        for start in range(end - 1, -1, -1):
            shared = min(shared, alike[start], len(ids[start]) - 1)
            if not shared:
                break
            saved = best[start][0] + (end - start) * shared - LEAST
            if saved > found[0]:
                found = saved, [*best[start][1], (shared, sorted(order[start : end + 1]))]
        best.append(found)
    return sorted(best[-1][1])


def decoded(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Return the greedy replies to prompts that are read whole, each up to its end token."""
    return _until_end(engine, until_ended(engine, prompts, tokens))


def _until_end(engine: Engine, generation: object) -> list[list[int]]:
    ends = set(engine.end_ids())
    return [list(before_end(ids, ends)) for ids in engine.tokens(generation)]
