"""Compare the outputs of two encoders for the same texts by cosines, rankings and labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import mul

from bench.drift.retrieval import MOST_RANKED, TextSet, places_of
from bench.records import EncodedTexts, Encodings
from bench.stats.plain_sum import plain_sum

Vector = Sequence[float]
# Of a regression, or of a reranker, whose makers give it a query and a document together.
ONE_SCORE = "its one output is a score, and no label to compare; it is given single texts, and no pairs"
COSINE = "cosine"
DIGITS = 9  # decimals of a stored cosine; float32 has about seven digits


def embedded(texts: TextSet, base: Encodings, variant: Encodings) -> EncodedTexts:
    """Return the cosine of both vectors of each text, and compare how both sides rank the documents, each by
    the similarity that its model is made for.

    If the vectors of the two sides differ in length, there are no cosines; each side still ranks by its own
    vectors.
    """
    ours, theirs = ([_normed(row) for row in side.outputs] for side in (variant, base))
    cut = max(base.cut, variant.cut)
    result = EncodedTexts(texts.source, texts.digest, len(texts.documents), cut=cut)
    if len(ours[0]) == len(theirs[0]):
        pairs = zip(theirs, ours, strict=True)
        result = replace(result, cosines=tuple(round(_dot(*pair), DIGITS) for pair in pairs))
    ranked, queries = list(_ranked(texts, base, variant)), len(texts.queries)
    if not queries:
        return result
    return replace(
        result,
        rank_correlations=tuple(round(spearman(before, after), DIGITS) for _, before, after in ranked),
        same_first=tuple(_first(before) == _first(after) for _, before, after in ranked),
        found_before=tuple(_first(before) == right for right, before, _ in ranked),
        found_after=tuple(_first(after) == right for right, _, after in ranked),
    )


def labelled(texts: TextSet, base: Encodings, variant: Encodings) -> EncodedTexts:
    """Return the likeliest label of each text on both sides.

    Raises ValueError if the two models have different labels, if the model lacks a right label, and for a
    model with one output (a regression, a reranker): the largest of one number is always the same.
    """
    if any(len(row) == 1 for row in base.outputs[:1]):
        raise ValueError(ONE_SCORE)
    if base.labels != variant.labels:
        raise ValueError("its labels differ from the baseline's")
    return EncodedTexts(
        texts.source,
        texts.digest,
        labels_before=tuple(map(_first, base.outputs)),
        labels_after=tuple(map(_first, variant.outputs)),
        right_labels=places_of(texts.labels, base.labels),
        cut=max(base.cut, variant.cut),
    )


def same(once: Encodings, again: Encodings) -> tuple[float, ...]:
    """Return the cosine of the two vectors of each text, from two passes of the same model."""
    pairs = zip(once.outputs, again.outputs, strict=True)
    return tuple(round(_dot(_normed(first), _normed(second)), DIGITS) for first, second in pairs)


def _ranked(
    texts: TextSet, base: Encodings, variant: Encodings
) -> Iterator[tuple[int, list[float], list[float]]]:
    """Yield (index of the right document, baseline's similarities, variant's similarities) for up to
    ``MOST_RANKED`` queries, evenly spread. They are those of the query with every document."""
    count = len(texts.queries)
    step = max(count / MOST_RANKED, 1.0)
    sides = [
        ([_normed(row) for row in side.outputs] if side.similarity == COSINE else side.outputs, side)
        for side in (base, variant)
    ]
    for query in (int(number * step) for number in range(min(count, MOST_RANKED))):
        before, after = (
            [SIMILARITIES[side.similarity](rows[query], document) for document in rows[count:]]
            for rows, side in sides
        )
        yield texts.right[query], before, after


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's ρ, the correlation of the ranks (Spearman 1904). Equal values share their mean rank.

    If all values are equal in both lists the result is 1, and if they are in only one list it is 0.
    """
    first, second = _ranks(x), _ranks(y)
    middle = (len(x) - 1) / 2
    a, b = ([rank - middle for rank in ranks] for ranks in (first, second))
    spread = math.sqrt(_dot(a, a) * _dot(b, b))
    if spread == 0:
        return float(first == second)
    return _dot(a, b) / spread


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, place = [0.0] * len(values), 0
    for _value, equals in groupby(order, key=values.__getitem__):
        group = list(equals)
        for index in group:
            ranks[index] = place + (len(group) - 1) / 2
        place += len(group)
    return ranks


def _normed(row: Vector) -> list[float]:
    length = math.sqrt(_dot(row, row)) or 1.0
    return [value / length for value in row]


def _dot(x: Vector, y: Vector) -> float:
    return float(plain_sum(map(mul, x, y)))


def _nearness(x: Vector, y: Vector) -> float:
    return -math.dist(x, y)


def _city_blocks(x: Vector, y: Vector) -> float:
    return -math.fsum(abs(a - b) for a, b in zip(x, y, strict=True))


# By their names in sentence-transformers; the larger, the more alike. A cosine is of vectors of length 1.
SIMILARITIES: Mapping[str, Callable[[Vector, Vector], float]] = {
    COSINE: _dot, "dot": _dot, "euclidean": _nearness, "manhattan": _city_blocks,
}  # fmt: skip


def _first(scores: Sequence[float]) -> int:
    """Return the index of the largest score; of equal scores the first."""
    return max(range(len(scores)), key=scores.__getitem__)
