"""Define the replies of workers about encoders, and the comparison of two encoders' outputs.

This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Encodings:
    """Hold an encoder's output for each text: its vector, or one logit per label.

    ``cut`` counts the texts that are as long as the longest input of the model, so that their end may be
    missing. ``labels`` are the labels of a classifier. ``similarity`` is what the model's makers compare two
    of its vectors by, in the words of sentence-transformers: cosine, dot, euclidean or manhattan.
    """

    outputs: tuple[tuple[float, ...], ...]
    cut: int = 0
    labels: tuple[str, ...] = ()
    similarity: str = "cosine"


@dataclass(frozen=True)
class EncodedTexts:
    """Compare a variant's outputs for some texts with the baseline's.

    ``texts`` is the SHA-256 of all texts, and ``source`` says where they come from.

    An embedding model has ``cosines``, the cosine of the two vectors of each text, and ``floor``, the cosine
    of the baseline's own vectors of a text that it encoded alone and in a batch. Both models rank the same
    documents for each query, each by its own similarity: ``rank_correlations`` (Spearman's ρ) and
    ``same_first`` have one entry per query. ``found_before`` and ``found_after`` say whether a query's own
    document came first; both are empty if the texts do not say which document that is.

    A classifier has ``labels_before``, ``labels_after`` and ``right_labels``, indices into the model's list
    of labels; ``right_labels`` is empty if the right labels are not known.
    """

    source: str
    texts: str
    documents: int = 0
    cosines: tuple[float, ...] = ()
    floor: tuple[float, ...] = ()
    rank_correlations: tuple[float, ...] = ()
    same_first: tuple[bool, ...] = ()
    found_before: tuple[bool, ...] = ()
    found_after: tuple[bool, ...] = ()
    labels_before: tuple[int, ...] = ()
    labels_after: tuple[int, ...] = ()
    right_labels: tuple[int, ...] = ()
    cut: int = 0
