"""llama.cpp's statistics against its own formulas in numpy, and the figures that are made of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import arm_record, drift_window, run_record

from bench.drift import moments, noise_floor
from bench.metrics import drift_tails, output_drift
from bench.records import DriftWindow, RunRecord

RNG = np.random.default_rng(5)
POSITIONS = 40


def window() -> DriftWindow:
    ln_p = RNG.normal(-3, 1, POSITIONS).clip(max=-0.01)
    ln_q = (ln_p + RNG.normal(-0.05, 0.2, POSITIONS)).clip(max=-0.01)
    return drift_window(RNG.exponential(0.1, POSITIONS), RNG.integers(0, 2, POSITIONS).tolist(), ln_p, ln_q)


WINDOWS = tuple(window() for _ in range(12))
LN_P, LN_Q, KLD, SAME = (
    np.concatenate([getattr(one, key) for one in WINDOWS])
    for key in ("ln_p_base", "ln_p_variant", "kld", "same_top")
)
N = len(LN_P)


def run_of(*windows: DriftWindow) -> RunRecord:
    return run_record(arm_record(), arm_record("v", drift=windows))


def test_paired_perplexities() -> None:
    """As perplexity.cpp writes it: (E[ab] − E[a]·E[b])/(N − 1), and errors that use it."""
    found = moments.perplexities(WINDOWS)
    assert found is not None
    a, b = -LN_P, -LN_Q
    var_a, var_b = ((x**2).mean() - x.mean() ** 2 for x in (a, b))
    sigma_a, sigma_b = math.sqrt(var_a / (N - 1)), math.sqrt(var_b / (N - 1))
    cov = ((a * b).mean() - a.mean() * b.mean()) / (N - 1)
    ppl_a, ppl_b = math.exp(a.mean()), math.exp(b.mean())
    wanted = {
        "base": ppl_a,
        "variant": ppl_b,
        "ln_ratio": math.log(ppl_b / ppl_a),
        "ln_ratio_error": math.sqrt(sigma_a**2 + sigma_b**2 - 2 * cov),
        "change": ppl_b - ppl_a,
        "change_error": math.sqrt((ppl_b * sigma_b) ** 2 + (ppl_a * sigma_a) ** 2 - 2 * ppl_a * ppl_b * cov),
        "correlation": cov / (sigma_a * sigma_b),
    }
    for name, value in wanted.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name


def test_errors_of_the_other_figures() -> None:
    change = np.exp(LN_Q) - np.exp(LN_P)
    squares = change**2
    rms = math.sqrt(squares.mean())
    of_squares = math.sqrt(((squares**2).mean() - squares.mean() ** 2) / (N - 1))
    share = SAME.mean()
    assert moments.error_of_rms(moments.delta_p(WINDOWS)) == pytest.approx(of_squares / (2 * rms), rel=1e-6)
    assert moments.error_of_mean([one.kld for one in WINDOWS]) == pytest.approx(
        KLD.std(ddof=1) / math.sqrt(N), rel=1e-6
    )
    wanted = math.sqrt(share * (1 - share) / (N - 1))
    assert moments.error_of_share([one.same_top for one in WINDOWS]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("same", [drift_window([0.0] * 3, [1] * 3, [-1.0] * 3, [-1.0] * 3)])
def test_no_change_has_no_error_and_no_correlation(same: DriftWindow) -> None:
    found = moments.perplexities([same])
    assert found is not None
    assert (found.ln_ratio, found.ln_ratio_error, found.correlation) == (0, 0, None)
    assert moments.error_of_rms(moments.delta_p([same])) is None
    assert moments.perplexities([drift_window([0.1], [1], [-1.0], [-1.0])]) is None


def test_every_quantile_is_numpys() -> None:
    run = run_of(*WINDOWS)
    found = drift_tails.figures(run.arms[1], run)
    change = np.exp(LN_Q) - np.exp(LN_P)
    places = {"min": 0, "p01": 0.01, "p05": 0.05, "p10": 0.1, "median": 0.5, "p90": 0.9, "p95": 0.95,
              "p99": 0.99, "p999": 0.999, "max": 1}  # fmt: skip
    for name, place in places.items():
        for key, values in (("kld", KLD), ("delta_p", change)):
            figure = found.get(f"{key}_{name}")
            if figure is not None:
                assert figure.value == pytest.approx(np.quantile(values, place), rel=1e-6, abs=1e-9)
    assert {key for key, figure in found.items() if figure is None} == set()
    assert len(found) == len(drift_tails.METRICS) == 8 + 1 + 10 + 2


def test_the_change_of_perplexity_has_an_interval_over_windows() -> None:
    """As wide as a plain bootstrap of both perplexities together."""
    run = run_of(*WINDOWS)
    found = drift_tails.figures(run.arms[1], run)["ppl_change"]
    assert found is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    a, b = -LN_P.reshape(12, POSITIONS), -LN_Q.reshape(12, POSITIONS)
    chosen = np.random.default_rng(0).integers(0, 12, (4000, 12))
    plain = np.exp(b[chosen].mean(axis=(1, 2))) - np.exp(a[chosen].mean(axis=(1, 2)))
    low, high = np.quantile(plain, (0.025, 0.975))
    assert found.ci_low < found.value < found.ci_high
    assert (found.ci_high - found.ci_low) / (high - low) == pytest.approx(1.1, abs=0.25)


def test_a_baseline_and_what_was_not_scored_have_none() -> None:
    for run, place in ((run_of(*WINDOWS), 0), (run_of(), 1)):
        assert set(drift_tails.figures(run.arms[place], run).values()) == {None}


# ---- the noise floor -------------------------------------------------------------------------------


def test_the_floor_has_each_circumstance() -> None:
    shapes, threads = drift_window([1e-9], [1], [-1.0], [-1.0]), drift_window([3e-9], [1], [-1.0], [-1.0])
    base = arm_record(floor=(shapes,), floors={"threads": (threads,), "batch": ()})
    run = run_record(base, arm_record("v", drift=WINDOWS), arm_record("w", drift=WINDOWS))
    assert noise_floor.floors(base, run) == {"shapes": 1e-9, "threads": 3e-9, "process": 0.0}
    assert noise_floor.floors(None, run) == {}


def test_processes_are_told_apart_by_the_baselines_of_two_rows() -> None:
    """KL is half the mean square of a small difference of logarithms, as numpy's own KL of both says."""
    logits = RNG.normal(0, 2, (2000, 30))
    other = logits + RNG.normal(0, 0.01, logits.shape)
    ln_p, ln_q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (logits, other))
    exact = (np.exp(ln_p) * (ln_p - ln_q)).sum(-1).mean()
    drawn = [RNG.choice(30, p=np.exp(row)) for row in ln_p]
    rows = np.arange(2000)
    one, same = (
        (drift_window([0.1] * 2000, [1] * 2000, side[rows, drawn], [-1.0] * 2000),) for side in (ln_p, ln_q)
    )
    assert noise_floor.between_processes([one, same]) == pytest.approx(exact, rel=0.15)
    assert noise_floor.between_processes([one]) is None
    assert noise_floor.between_processes([one, ()]) is None
    assert noise_floor.between_processes([]) is None


def test_drift_below_any_floor_is_not_above_it() -> None:
    base = arm_record(floors={"threads": (drift_window([0.5], [1], [-1.0], [-1.0]),)})
    variant = arm_record("v", drift=WINDOWS)
    figure = output_drift.figures(variant, run_record(base, variant))["kld_mean"]
    assert figure is not None
    assert figure.value < 0.5
    assert not output_drift.above_floor(figure)
    assert output_drift.above_floor(replace(figure, notes={}))
