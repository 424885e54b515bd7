"""What a run of encoders says: cosines near 1, the sentence of a row, and the page of drift."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.encoders import cosine_text, encoded_words, share_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.5, "0.5000"), (0.99871, "0.9987"), (0.99995, "1 − 5.0e-05"),
        (1 - 2e-8, "1 − 2.0e-08"), (1.0, "1"), (1.000000001, "1"),
    ],
)  # fmt: skip
def test_a_cosine_has_as_many_digits_as_tell_it_from_1(value: float | None, text: str) -> None:
    assert cosine_text(value) == text


def test_few_flips_are_not_none() -> None:
    assert share_text(1 / 5000) == "0.02%"


class FakeRow:
    """A row with these figures, by their keys."""

    def __init__(self, **figures: Any) -> None:
        self.figures = figures

    def figure(self, metric: Any) -> Any:
        return self.figures.get(metric.key)


class FakeFigure:
    def __init__(self, value: float, **notes: Any) -> None:
        self.value, self.notes = value, notes


def words(**figures: FakeFigure) -> str:
    row: Any = FakeRow(**figures)
    return encoded_words(row)


def test_the_sentence_of_vectors() -> None:
    known = {
        "cosine_mean": FakeFigure(0.998), "cosine_p01": FakeFigure(0.99),
        "rank_correlation": FakeFigure(0.9876), "first_document_agreement": FakeFigure(0.97),
    }  # fmt: skip
    near = "cosine to the baseline 0.9980, 1 % below 0.9900"
    ranked = "same first document for 97.0% of queries (ranks agree to 0.988)"
    assert words(**known) == f"{near}, {ranked}"
    lost = FakeFigure(-0.02, lost=3, gained=1, p=0.625)
    assert words(**known, retrieval_change=lost).endswith(
        "3 queries no longer find their own document first, 1 the other way round (p = 0.62)"
    )
    assert words(**known, retrieval_change=FakeFigure(0.0, lost=0, gained=0, p=1.0)).endswith(ranked)
    assert words() == ""


def test_the_sentence_of_labels() -> None:
    flips = FakeFigure(0.015)
    assert words(label_flips=flips) == "another label for 1.50% of texts"
    right = FakeFigure(-0.01, lost=2, gained=0, p=0.5)
    assert words(label_flips=flips, label_accuracy_change=right).endswith(
        "2 texts are labelled wrong that were right, 0 the other way round (p = 0.5)"
    )
