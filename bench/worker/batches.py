"""Choose the texts that are read together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from bench.engine import Engine
from bench.errors import Unsupported

TOGETHER = 8  # texts of the same number of tokens: so nothing is padded
MOST_PADDED = 4096  # tokens of prompts of several lengths that are read in one pass
PADS: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()  # what was found out about padding


def of_one_length(texts: Sequence[Sequence[int]], most: float = math.inf) -> Iterator[list[int]]:
    """Yield the places of up to ``TOGETHER`` texts that have the same length, and together at most ``most``
    tokens, or of one."""
    lengths: dict[int, list[int]] = {}
    for place, ids in enumerate(texts):
        lengths.setdefault(len(ids), []).append(place)
    for length, places in lengths.items():
        count = int(max(min(TOGETHER, most // max(length, 1)), 1))
        yield from (places[start : start + count] for start in range(0, len(places), count))


def in_common(texts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all texts have in common at their beginning."""
    shortest = min(map(len, texts))
    differ = (n for n in range(shortest) if len({ids[n] for ids in texts}) > 1)
    return next(differ, shortest)


def passes(engine: Engine, prompts: Sequence[Sequence[int]], may_pad: bool = True) -> Iterator[list[int]]:
    """Yield the places of prompts that are replied to together: of one length, or padded if the engine pads
    and decodes a padded prompt as it is alone. A step reads all weights, so many replies take as long as one.
    """
    if prompts and engine.drafted(prompts[0], 1) is not None:  # one sequence at a time
        yield from ([place] for place in range(len(prompts)))
    elif not prompts or not (may_pad and _pads(engine)):
        yield from of_one_length(prompts)
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
