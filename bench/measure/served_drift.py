"""Measure the drift of a server: compare its distributions, or else its texts, with those of the baseline.

Each position or reply is one request to each side. They are sent after the last block of load, so that they
disturb nothing that is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from bench.errors import BenchError, Outcome, VariantFailed
from bench.formatting import one_line
from bench.measure.arm import ArmUnderTest
from bench.measure.events import Began
from bench.measure.load_blocks import Serving, failing_as
from bench.records.drift import BY_TEXT
from bench.serving.greedy_replies import paired, pieces, replies
from bench.serving.load import run
from bench.serving.server_drift import compared, distributions_of, must_have_same_tokens, scoring_of

NOT_ASKED = "drift.tokens is 0"
ALONE = "the row is not measured beside the baseline's server"
REASON_LETTERS = 300


def floor(server: Serving, row: ArmUnderTest) -> None:
    """Ask the baseline's server twice for one window, and record how far the two answers differ.

    If the server cannot be asked, nothing is recorded; each variant then records why it has no drift.
    """
    settings = row.context.drift
    row.context.tell(Began(row.title, "noise floor of drift, asked twice"))
    with suppress(VariantFailed), failing_as(Outcome.RUN_ERROR):
        asker = server.target.asker
        scoring = run(scoring_of(asker, row.context.text, settings.window, settings.window))
        first, second = (run(distributions_of(asker, scoring.windows)) for _ in range(2))
        row.record(floor=[compared(*one) for one in zip(scoring.windows, first, second, strict=True)])


def between(side: Callable[[int], Serving], row: ArmUnderTest) -> None:
    """Compare the distributions of both sides, and record the windows.

    If a server does not give its probabilities, compare what both write instead, and record the reason. If
    that fails too, record why nothing was compared. ``side`` returns the server of a side, 0 for the
    baseline; it may stop the other one first.
    """
    settings, asked = row.context.drift, "baseline"
    row.context.tell(Began(row.title, "drift, both servers"))
    try:
        with failing_as(Outcome.RUN_ERROR):
            base = side(0).target
            scoring = run(scoring_of(base.asker, row.context.text, settings.window, settings.tokens))
            of_base = run(distributions_of(base.asker, scoring.windows))
            asked = row.arm.name
            variant = side(1).target
            run(must_have_same_tokens(variant.asker, scoring))
            of_variant = run(distributions_of(variant.asker, scoring.windows))
            windows = [compared(*three) for three in zip(scoring.windows, of_base, of_variant, strict=True)]
    except VariantFailed as bad:
        return _by_text(side, row, f"{asked}: {one_line(bad.reason)[:REASON_LETTERS]}")
    return row.record(drift=windows, drift_reason="")


def _by_text(side: Callable[[int], Serving], row: ArmUnderTest, why: str) -> None:
    """Compare what both servers write after the same pieces of the text. The baseline is asked twice, which
    shows how much it differs from itself. ``why`` says why there are no distributions, and is recorded."""
    settings = row.context.drift
    row.context.tell(Began(row.title, "drift by text, both servers"))
    try:
        with failing_as(Outcome.RUN_ERROR):
            prompts = pieces(row.context.text, max(settings.tokens // settings.window, 1), settings.window)
            base = side(0).target.settings
            of_base, again = (run(replies(base, prompts, settings.window)) for _ in range(2))
            variant = side(1).target.settings
            if base.api != variant.api:
                raise BenchError(f"{variant.api} cannot be compared with {base.api}: other prompts")
            of_variant = run(replies(variant, prompts, settings.window))
    except VariantFailed as bad:
        return row.record(drift_reason=f"{why}; by text: {one_line(bad.reason)[:REASON_LETTERS]}")
    return row.record(said=list(paired(of_base, again, of_variant)), drift_reason=f"{BY_TEXT}: {why}")
