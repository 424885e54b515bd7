"""In which band a row's drift is: from indistinguishable to a different model."""

from __future__ import annotations

from bench.metrics import output_drift
from bench.results.row import Row

# Bands of mean KL (nats) against the baseline: a convention, not a law (see docs/drift.md).
BANDS = (
    (0.001, "indistinguishable"),
    (0.02, "close to the baseline"),
    (0.2, "noticeably different"),
    (float("inf"), "a different model"),
)


def band(row: Row) -> str | None:
    """Say in a word or two how far a row is from the baseline; None if drift was not measured."""
    figure = row.figure(output_drift.KLD)
    if figure is None:
        return None
    if not output_drift.above_floor(figure):
        return "not distinguishable from noise"
    return next((words for limit, words in BANDS if figure.value < limit), BANDS[-1][1])


def a_different_model(row: Row) -> bool:
    """Return whether a row's drift is in the last band."""
    return band(row) == BANDS[-1][1]
