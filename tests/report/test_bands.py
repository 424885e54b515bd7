"""The band of a row's drift: both sides of every limit, and drift within the noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.metrics import output_drift
from bench.report.bands import a_different_model, band
from bench.stats.intervals import Interval


def row(kld: float | None, **notes: object) -> Any:
    figure = output_drift.KLD.scalar(None if kld is None else Interval(kld, kld, kld), **notes)
    return SimpleNamespace(figure=lambda metric: figure if metric is output_drift.KLD else None)


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


def test_within_the_noise_there_is_no_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_drift, "above_floor", lambda figure: False)
    assert band(row(5.0)) == "not distinguishable from noise"
    assert not a_different_model(row(5.0))
