"""Compute how far one server's output is from another's, over evenly spread windows of a text.

Both are asked for their distribution over the whole vocabulary after each prefix of a window, so the figures
are exact. The tokens of the text are those of the baseline's server, which lends its tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.drift.kl_and_perplexity import window_starts
from bench.errors import BenchError
from bench.records import DriftWindow
from bench.records.drift import OTHER_TOKENIZER
from bench.serving.client import within
from bench.serving.distributions import (
    LEAST_LN,
    MOST_VOCABULARY,
    Asker,
    Distribution,
    most_s,
    whole_route,
)

LnP = Any  # natural logarithms of probability of one window: an array of (scored positions, vocabulary)
SAMPLE_LETTERS = 400
ONE_LETTER = "a"
NOT_ALL = "the server gave its whole vocabulary for some prompts and not for others"


@dataclass(frozen=True)
class Scoring:
    """The windows as token ids, each with what stands before every text, and a sample of the text with its
    ids, by which another tokenizer is told."""

    windows: tuple[tuple[int, ...], ...]
    sample: str
    sample_ids: tuple[int, ...]


async def scoring_of(asker: Asker, text: str, window: int, tokens: int) -> Scoring:
    """Cut a text into windows of ``window`` tokens, so many that ``tokens`` are reached.

    Raises BenchError if the server does not lend its tokenizer, or if the text is shorter than one window.
    """
    begin = await _begin(asker)
    ids = await _ids(asker, text)
    size = window - len(begin)
    starts = window_starts(len(ids), size, tokens) if size > 1 else []
    if not starts:
        raise BenchError(f"the evaluation text has {len(ids)} tokens, a window {window}")
    sample = text[:SAMPLE_LETTERS]
    windows = tuple((*begin, *ids[start : start + size]) for start in starts)
    return Scoring(windows, sample, await _ids(asker, sample))


async def must_have_same_tokens(asker: Asker, scoring: Scoring) -> None:
    """Raise BenchError if a server is seen to cut the text into other tokens; one that does not lend its
    tokenizer is told by the size of its vocabulary alone."""
    try:
        ids = await _ids(asker, scoring.sample)
    except BenchError:
        return
    if ids != scoring.sample_ids:
        raise BenchError(f"{OTHER_TOKENIZER}: token-level drift is not defined")


async def distributions_of(asker: Asker, windows: Sequence[Sequence[int]]) -> list[LnP]:
    """Return what a server says of each window.

    Raises BenchError if it does not show its whole vocabulary after each prefix.
    """
    import numpy as np

    async with within(most_s(sum(map(len, windows))), f"the drift of {len(windows)} windows"):
        route = await whole_route(asker, windows[0][:1])
        found = [[_row(await route.ask(ids[:length])) for length in range(1, len(ids))] for ids in windows]
    if len({len(row) for rows in found for row in rows}) > 1:
        raise BenchError(NOT_ALL)
    return [np.stack(rows) for rows in found]


def compared(ids: Sequence[int], base: LnP, variant: LnP) -> DriftWindow:
    """Return KL(base ‖ variant) and the rest for each position of a window that has a next token.

    Raises BenchError for vocabularies of different sizes.
    """
    import numpy as np

    if base.shape != variant.shape:
        raise BenchError(f"vocabulary of {variant.shape[1]}, the baseline's is {base.shape[1]}")
    if max(ids) >= base.shape[1]:
        raise BenchError(f"token {max(ids)} of the text is not in the vocabulary of {base.shape[1]}")
    # In float64 and with a sum of 1, because a server's logarithms were rounded once already.
    ln_p, ln_q = _normal(base), _normal(variant)
    kld = (np.exp(ln_p) * (ln_p - ln_q)).sum(axis=1)
    places, true = np.arange(len(ids) - 1), np.asarray(ids[1:])
    return DriftWindow(
        kld=tuple(max(float(one), 0.0) for one in kld.round(12)),
        same_top=tuple(map(int, ln_p.argmax(axis=1) == ln_q.argmax(axis=1))),
        ln_p_base=tuple(ln_p[places, true].tolist()),
        ln_p_variant=tuple(ln_q[places, true].tolist()),
    )


def _normal(ln_p: LnP) -> LnP:
    import numpy as np

    wide = ln_p.astype(np.float64)
    largest = wide.max(axis=1, keepdims=True)
    return wide - largest - np.log(np.exp(wide - largest).sum(axis=1, keepdims=True))


def _row(found: Distribution) -> LnP:
    """Return a distribution in the order of its token ids. Raises BenchError if a token is missing."""
    import numpy as np

    if not found or max(found) + 1 != len(found):
        raise BenchError(NOT_ALL)
    row = np.empty(len(found), dtype=np.float32)
    row[np.fromiter(found, dtype=np.int64)] = np.fromiter(found.values(), dtype=np.float32)
    return np.maximum(row, np.float32(LEAST_LN))


async def _begin(asker: Asker) -> tuple[int, ...]:
    """Return the ids that the server puts before every text."""
    alone, whole = await _ids(asker, ONE_LETTER), await _ids(asker, ONE_LETTER, special=True)
    place = len(whole) - len(alone)
    return whole[:place] if place > 0 and whole[place:] == alone else ()


async def _ids(asker: Asker, text: str, *, special: bool = False) -> tuple[int, ...]:
    """Return the token ids of a text as the server cuts it. Raises BenchError if it does not tell."""
    try:
        found = await asker.tokens(text, special=special)
    except BenchError as bad:
        raise BenchError(f"the server does not lend its tokenizer ({bad})") from None
    ids = tuple(one for one in found or () if type(one) is int and 0 <= one < MOST_VOCABULARY)
    if found is None or len(ids) < len(found):
        raise BenchError("the server does not lend its tokenizer (/tokenize returned no token ids)")
    return ids
