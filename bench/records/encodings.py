"""What workers reply about encoders, and how the outputs of two of them compare. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Encodings:
    """The output for each text: its vector, or a number (logit) for each label. ``cut`` counts the texts that
    fill all that the model reads, ``labels`` are those of a classifier."""

    outputs: tuple[tuple[float, ...], ...]
    cut: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncodedTexts:
    """A variant's outputs for some texts beside the baseline's. Of an embedding model: the cosine of both
    vectors of each text, and how both rank the same documents for each query. Of a classifier: labels.

    ``texts`` is the SHA-256 of all texts, ``source`` says where they are from. ``floor`` has the cosines of
    the baseline's own vectors, alone and in a batch. ``rank_correlations`` (Spearman's ρ) and ``same_first``
    have an entry for each query; ``found_before`` and ``found_after`` say of each query whether its own
    document came first, and are empty where nobody knows which that is. ``labels_before``, ``labels_after``
    and ``right_labels`` are places in the model's list of labels; the last is empty where they are not known.
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
