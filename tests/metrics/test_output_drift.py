"""What drift figures are scored on: the baseline's text is its variants', and a short text is said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import arm_record, drift_window, run_record

from bench.errors import Outcome
from bench.metrics import output_drift
from bench.records import ArmRecord, DriftWindow, RunRecord
from bench.results.summarise import summarise
from bench.stats.figure import Figure

LN = math.log
WINDOWS = (
    drift_window([0.1, 0.3], [1, 0], [LN(1 / 2), LN(1 / 4)], [LN(1 / 4), LN(1 / 4)]),
    drift_window([0.2, 0.4], [1, 1], [LN(1 / 2), LN(1 / 2)], [LN(1 / 2), LN(1 / 8)]),
)
EASIER = drift_window([0.0], [1], [LN(1 / 2)], [LN(1 / 2)])
BASE = arm_record(floor=(EASIER,))
VARIANT = arm_record("v", drift=WINDOWS)


def run_of(*arms: ArmRecord, tokens: int = 6, window: int = 3) -> RunRecord:
    drift = {"tokens": tokens, "window": window}
    return replace(run_record(*arms), spec={"drift": drift}, text={"name": "english", "sha256": "01"})


def figures(arm: ArmRecord, *arms: ArmRecord, **spec: int) -> dict[str, Figure]:
    """Those that were measured."""
    found = output_drift.figures(arm, run_of(*arms, **spec))
    return {key: figure for key, figure in found.items() if figure is not None}


# ---- the baseline ----------------------------------------------------------------------------------


def test_the_baselines_perplexity_is_of_the_windows_of_its_variants() -> None:
    """(1/2 · 1/4 · 1/2 · 1/2)^(−1/4) = 32^(1/4), where the noise floor's one window would give 2."""
    found = figures(BASE, BASE, VARIANT)
    assert found["ppl"].value == pytest.approx(32**0.25)
    assert (found["ppl"].notes["n"], found["ppl"].notes["windows"]) == (4, 2)


def test_perplexity_ratio_times_the_baselines_is_the_variants() -> None:
    base, variant = figures(BASE, BASE, VARIANT), figures(VARIANT, BASE, VARIANT)
    assert base["ppl"].value * variant["ppl_ratio"].value == pytest.approx(variant["ppl"].value)


def test_a_variant_that_was_cut_short_or_of_another_cell_does_not_lend_its_windows() -> None:
    short = arm_record("short", drift=WINDOWS[:1])
    elsewhere = arm_record("w", group="batch_size=8", drift=(*WINDOWS, EASIER))
    found = figures(BASE, BASE, short, VARIANT, elsewhere)
    assert found["ppl"].notes["windows"] == 2


def test_without_a_scored_variant_the_noise_floors_windows_each_once() -> None:
    """A baseline that is started again scores the same floor again: that is no more text."""
    base = replace(BASE, floor=(*WINDOWS, *WINDOWS))
    found = figures(base, base, arm_record("v"))
    assert found["ppl"].value == pytest.approx(32**0.25)
    assert (found["ppl"].notes["n"], found["ppl"].notes["windows"]) == (4, 2)


# ---- what stands beside every figure ---------------------------------------------------------------


def test_every_drift_figure_says_what_it_is_of() -> None:
    for found in (figures(VARIANT, BASE, VARIANT), figures(BASE, BASE, VARIANT)):
        assert found
        for figure in found.values():
            noted = {key: figure.notes[key] for key in ("n", "windows", "window", "text", "asked")}
            assert noted == {"n": 4, "windows": 2, "window": 3, "text": "english", "asked": 6}


def test_window_means_by_hand() -> None:
    found = figures(VARIANT, BASE, VARIANT)
    notes = {key: figure.notes for key, figure in found.items()}
    means = {key: noted["window_means"] for key, noted in notes.items() if "window_means" in noted}
    assert set(means) == {"kld_mean", "top1_agreement", "ppl", "ppl_ratio"}
    assert means["kld_mean"] == [0.2, 0.3]
    assert means["top1_agreement"] == [0.5, 1.0]
    assert means["ppl"] == pytest.approx([2 * LN(2), 2 * LN(2)])
    assert means["ppl_ratio"] == pytest.approx([LN(2) / 2, LN(2)])


# ---- a text that is too short ----------------------------------------------------------------------


def text_of(windows: int) -> tuple[DriftWindow, ...]:
    return tuple(drift_window([0.1] * 255, [1] * 255, [-1.0] * 255, [-1.0] * 255) for _ in range(windows))


def test_fewer_tokens_than_asked_are_said_and_fail_nothing() -> None:
    run = run_of(BASE, arm_record("v", drift=text_of(53)), tokens=20_000, window=256)
    said = "drift: 13,515 of the 20,000 tokens asked for were scored: the text has no more"
    assert output_drift.shortfall(run) == said
    base = arm_record(floor=(EASIER,), loaded=None)
    found = summarise(replace(run, arms=(base, replace(run.arms[1], loaded=None)))).to_json()
    assert (found["status"], found["reasons"]) == ("ok", [said])


@pytest.mark.parametrize(
    ("windows", "tokens", "status", "said"),
    [
        (16, 4096, Outcome.OK, False),  # a window's first token has nothing to be predicted from
        (16, 4200, Outcome.OK, False),  # and a window is whole
        (15, 4096, Outcome.OK, True),
        (15, 4096, Outcome.TIMEOUT, False),  # it was cut short, the text was not
        (1, 100, Outcome.OK, False),
        (0, 4096, Outcome.OK, False),
    ],
)
def test_when_it_is_said(windows: int, tokens: int, status: Outcome, said: bool) -> None:
    variant = arm_record("v", status=str(status), drift=text_of(windows))
    found = output_drift.shortfall(run_of(BASE, variant, tokens=tokens, window=256))
    assert (found is not None) == said
