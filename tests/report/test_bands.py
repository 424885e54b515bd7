"""The band of a row's drift: both sides of every limit, and drift within the noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.metrics import output_drift
from bench.report.bands import a_different_model, band
from bench.stats.intervals import Interval


def row(kld: float | None, top1: float | None = None, against: str | None = None) -> Any:
    figures = {
        output_drift.KLD: output_drift.KLD.scalar(None if kld is None else Interval(kld, kld, kld)),
        output_drift.TOP1: output_drift.TOP1.scalar(top1),
    }
    return SimpleNamespace(figure=figures.get, contradiction=against)


@pytest.mark.parametrize(
    ("kld", "words"),
    [
        (0.0009, "indistinguishable"),
        (0.001, "close to the baseline"),
        (0.0199, "close to the baseline"),
        (0.02, "noticeably different"),
        (0.1999, "noticeably different"),
        (0.2, "a different model"),
        (1e300, "a different model"),
        (float("inf"), "a different model"),
        (None, None),
    ],
)
def test_both_sides_of_every_limit(
    kld: float | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_drift, "above_floor", lambda figure: True)
    assert band(row(kld)) == words
    assert a_different_model(row(kld)) is (words == "a different model")


@pytest.mark.parametrize(
    ("kld", "top1", "words"),
    [
        (0.0005, 0.9, "indistinguishable"),
        (0.0005, 0.658, "noticeably different"),
        (0.015, 0.9, "close to the baseline"),
        (0.015, 0.899, "noticeably different"),
        (0.3, 0.5, "a different model"),
    ],
)
def test_a_row_that_agrees_on_few_tokens_is_not_close(
    kld: float, top1: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_drift, "above_floor", lambda figure: True)
    assert band(row(kld, top1)) == words


def test_within_the_noise_there_is_no_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_drift, "above_floor", lambda figure: False)
    assert band(row(5.0)) == "not distinguishable from noise"
    assert not a_different_model(row(5.0))


def test_a_row_whose_replies_contradict_its_drift_is_another_model() -> None:
    found = row(0.0, 1.0, "6 of 6 replies differ")
    assert band(found) == "another model in its replies"
    assert a_different_model(found)
    assert band(row(None, None, "6 of 6 replies differ")) is None
