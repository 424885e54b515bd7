"""Put a row's drift into a band, from "indistinguishable" to "a different model"."""

from __future__ import annotations

from bench.metrics import output_drift
from bench.results.row import Row
from bench.stats.figure import value_of

# Upper limits of mean KL (nats) to the baseline. They are a convention of this tool (see docs/drift.md).
BANDS = (
    (0.001, "indistinguishable"),
    (0.02, "close to the baseline"),
    (0.2, "noticeably different"),
    (float("inf"), "a different model"),
)
OTHER_REPLIES = "another model in its replies"  # whatever its drift on a text
NOTICEABLE = 2  # the place of the first band that is not called close
LEAST_AGREEMENT = 0.9  # of next tokens; a row that agrees on fewer is at least noticeably different


def band(row: Row) -> str | None:
    """Say in a few words how far a row is from the baseline, or return None if drift was not measured.

    A model that is unsure of most tokens can have a small KL and choose other tokens all the same. So a row
    that agrees on few tokens is never called close. Nor is one whose replies contradict its drift.
    """
    figure = row.figure(output_drift.KLD)
    if figure is None:
        return None
    if row.contradiction:
        return OTHER_REPLIES
    if not output_drift.above_floor(figure):
        return "not distinguishable from noise"
    agreement = value_of(row.figure(output_drift.TOP1))
    agrees = agreement is None or agreement >= LEAST_AGREEMENT
    bands = BANDS if agrees else BANDS[NOTICEABLE:]
    return next((words for limit, words in bands if figure.value < limit), BANDS[-1][1])


def a_different_model(row: Row) -> bool:
    """Return whether a row's drift is in the band with the largest drift, or contradicted by its replies."""
    return band(row) in (BANDS[-1][1], OTHER_REPLIES)
