"""Compute the drift of encoders, by a variant's and its baseline's vectors or labels of the same texts."""

from __future__ import annotations

from typing import Any

from bench.records import ArmRecord, EncodedTexts, RunRecord
from bench.stats.clustered import quantile_intervals
from bench.stats.figure import DIFFERENCE, SHARE, Figure, Figures, Metric
from bench.stats.intervals import bootstrap_interval, quantile, share_interval
from bench.stats.proportions import mcnemar, paired_difference

COSINE = Metric(
    "cosine_mean", "1", "higher",
    "mean over texts of a·b/(|a||b|), a and b the two vectors of a text; interval by bootstrap over texts",
    "cosine of the baseline's vector and the variant's", range=DIFFERENCE
)  # fmt: skip
COSINE_P01 = Metric(
    "cosine_p01", "1", "higher", "1st percentile over texts of that cosine; interval by Woodruff",
    "cosine that 1 % of the texts do not reach", range=DIFFERENCE
)  # fmt: skip
RANKS = Metric(
    "rank_correlation", "1", "higher",
    "mean over queries of Spearman's ρ of both rankings of all documents; bootstrap over queries",
    "documents are ranked alike", range=DIFFERENCE
)  # fmt: skip
FIRST = Metric(
    "first_document_agreement", "1", "higher",
    "share of queries with the same first document on both sides; exact interval (Clopper-Pearson)",
    "same first document", range=SHARE
)  # fmt: skip
FOUND = Metric(
    "retrieval_change", "1", "higher",
    "(gained − lost) ÷ queries, found: its own document comes first; Newcombe's method 10; p by McNemar",
    "own document first − the baseline's", range=DIFFERENCE
)  # fmt: skip
FLIPS = Metric(
    "label_flips", "1", "lower",
    "share of texts whose likeliest label is another one; exact interval (Clopper-Pearson)",
    "texts with another label than before", range=SHARE
)  # fmt: skip
RIGHT = Metric(
    "label_accuracy_change", "1", "higher",
    "(gained − lost) ÷ texts with a known label; Newcombe's method 10; p by McNemar's exact test",
    "share right − the baseline's", range=DIFFERENCE
)  # fmt: skip
PLACE = 8.8
OF_EMBEDDINGS = (COSINE, COSINE_P01, RANKS, FIRST, FOUND)
OF_CLASSIFIERS = (FLIPS, RIGHT)
METRICS = (*OF_EMBEDDINGS, *OF_CLASSIFIERS)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a variant; an empty dict in a run without encoders."""
    if not any(row.runtime.get("task") for row in run.arms):
        return {}
    result: Figures = {metric.key: None for metric in METRICS}
    if arm.encoded is None:
        return result
    encoded = arm.encoded
    return result | _cosines(encoded) | _rankings(encoded) | _labels(encoded)


def _cosines(encoded: EncodedTexts) -> Figures:
    if not encoded.cosines:
        return {}
    texts = [[cosine] for cosine in encoded.cosines]
    worst = quantile(sorted(encoded.floor), 0.0) if encoded.floor else None
    notes = {"n": len(texts), "texts": encoded.source, "floor": worst, "cut": encoded.cut}
    (low,) = quantile_intervals(texts, [0.01])
    return {
        COSINE.key: COSINE.scalar(bootstrap_interval(texts), **notes),
        COSINE_P01.key: COSINE_P01.scalar(low, **notes),
    }


def _rankings(encoded: EncodedTexts) -> Figures:
    count = len(encoded.rank_correlations)
    if not count:
        return {}
    notes = {"n": count, "documents": encoded.documents, "texts": encoded.source}
    return {
        RANKS.key: RANKS.scalar(bootstrap_interval([[rho] for rho in encoded.rank_correlations]), **notes),
        FIRST.key: FIRST.scalar(share_interval(sum(encoded.same_first), count), **notes),
        FOUND.key: _change(FOUND, encoded.found_before, encoded.found_after, **notes),
    }


def _labels(encoded: EncodedTexts) -> Figures:
    count = len(encoded.labels_before)
    if not count:
        return {}
    both = list(zip(encoded.labels_before, encoded.labels_after, strict=True))
    notes = {"n": count, "texts": encoded.source}
    result: Figures = {FLIPS.key: FLIPS.scalar(share_interval(sum(a != b for a, b in both), count), **notes)}
    if encoded.right_labels:
        right = list(zip(both, encoded.right_labels, strict=True))
        before, after = (tuple(pair[side] == label for pair, label in right) for side in (0, 1))
        result[RIGHT.key] = _change(RIGHT, before, after, **notes)
    return result


def _change(metric: Metric, before: tuple[bool, ...], after: tuple[bool, ...], **notes: Any) -> Figure | None:
    """Return the figure of how many more items are right than before, paired by item."""
    pairs = list(zip(before, after, strict=True))
    if not pairs:
        return None
    lost, gained = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    kept = sum(a and b for a, b in pairs)
    difference = paired_difference(kept, lost, gained, len(pairs) - kept - lost - gained)
    p, was = mcnemar(lost, gained), (kept + lost) / len(pairs)
    return metric.scalar(difference, lost=lost, gained=gained, p=p, before=was, **notes)
