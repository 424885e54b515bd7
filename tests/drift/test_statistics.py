"""The Jensen-Shannon divergence against NumPy in float64, and what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from bench import plugins
from bench.drift.statistics import jensen_shannon, reverse_kl, top_10_overlap
from bench.stats.figure import Metric
from bench.stats.intervals import bootstrap_interval

LN2 = math.log(2)


def distribution(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def divergence(base: np.ndarray, variant: np.ndarray) -> np.ndarray:
    """½·KL(P ‖ M) + ½·KL(Q ‖ M) of each row, 0·ln 0 = 0."""
    p, q = distribution(base.astype(np.float64)), distribution(variant.astype(np.float64))
    middle = (p + q) / 2
    total = np.zeros(len(p))
    for side in (p, q):
        there = side > 0
        terms = np.where(there, side * np.log(np.where(there, side, 1) / np.where(there, middle, 1)), 0.0)
        total += terms.sum(axis=-1) / 2
    return total


def found(base: np.ndarray, variant: np.ndarray) -> np.ndarray:
    blocks = [torch.from_numpy(side.astype(np.float32)) for side in (base, variant)]
    return np.asarray(jensen_shannon.of_positions(*blocks).numpy(), dtype=np.float64)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(2, 300), st.floats(0.01, 30))
def test_it_is_what_numpy_computes(seed: int, rows: int, vocabulary: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    base, variant = (rng.normal(0, scale, (rows, vocabulary)).astype(np.float32) for _ in range(2))
    values = found(base, variant)
    assert values.shape == (rows,)
    np.testing.assert_allclose(values, divergence(base, variant), rtol=1e-4, atol=2e-6)
    assert (values >= 0).all()
    assert (values <= LN2 * (1 + 1e-5)).all()
    np.testing.assert_allclose(values, found(variant, base), rtol=1e-5, atol=1e-6)


def test_small_differences_are_a_quarter_of_the_symmetric_kl_over_two() -> None:
    """To second order JSD is KL / 4; it is what quantised models show."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 2, (64, 500))
    variant = base + rng.normal(0, 0.1, base.shape)
    p, q = distribution(base), distribution(variant)
    kl = (p * np.log(p / q)).sum(axis=-1)
    assert found(base, variant).mean() == pytest.approx(kl.mean() / 4, rel=0.02)


def test_the_same_distribution_is_nought() -> None:
    logits = np.random.default_rng(1).normal(0, 5, (20, 1000))
    np.testing.assert_allclose(found(logits, logits), 0.0, atol=1e-6)
    np.testing.assert_allclose(found(logits, logits + 7), 0.0, atol=1e-6)


@pytest.mark.parametrize("far", [200.0, math.inf])
def test_what_has_nothing_in_common_is_ln_2(far: float) -> None:
    """Also where a probability is exactly 0: no NaN."""
    base, variant = np.array([[0.0, -far, -far]]), np.array([[-far, 0.0, -far]])
    assert found(base, variant) == pytest.approx(LN2)


def test_the_figure_is_the_mean_over_positions_by_bootstrap_over_windows() -> None:
    windows = [[0.1, 0.2], [0.3], [0.0, 0.1], [0.2, 0.2], [0.4]]
    assert jensen_shannon.figure(windows) == bootstrap_interval(windows)
    assert jensen_shannon.figure(windows).value == pytest.approx(1.5 / 8)


def logits(seed: int, rows: int = 20, vocabulary: int = 200) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 3, (rows, vocabulary)).astype(np.float32)
    return [base, base + rng.normal(0, 0.5, base.shape).astype(np.float32)]


def test_the_reverse_kl_is_scipys_from_the_other_side() -> None:
    base, variant = logits(2)
    values = reverse_kl.of_positions(torch.from_numpy(base), torch.from_numpy(variant))
    p, q = (distribution(side.astype(np.float64)) for side in (base, variant))
    np.testing.assert_allclose(values, rel_entr(q, p).sum(-1), rtol=1e-4, atol=2e-6)


def test_the_overlap_is_that_of_two_sets() -> None:
    base, variant = logits(3)
    values = top_10_overlap.of_positions(torch.from_numpy(base), torch.from_numpy(variant))
    wanted = [
        len(set(a[:10]) & set(b[:10])) / 10
        for a, b in zip((-base).argsort(-1), (-variant).argsort(-1), strict=True)
    ]
    np.testing.assert_allclose(values, wanted, rtol=1e-6)
    few = torch.from_numpy(base[:, :4])
    assert top_10_overlap.of_positions(few, -few).tolist() == [1.0] * 20


@pytest.mark.parametrize("name", plugins.names("drift.statistics"))
def test_each_statistic_has_the_three_things(name: str) -> None:
    module = plugins.load("drift.statistics", name)
    assert isinstance(module.METRIC, Metric)
    assert 20 < len(plugins.describe(module)) < 110
    assert callable(module.of_positions)
    assert callable(module.figure)
