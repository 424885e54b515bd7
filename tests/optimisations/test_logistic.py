"""The classifier of a rule that learns, against scipy's minimiser and by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize

from bench.optimisations.shared.logistic import Logistic, fitted, loss, targets


def answers(count: int, seed: int = 0) -> tuple[list[tuple[float, ...]], list[bool]]:
    """Answers whose first feature decides with some noise; the third is nearly the second, the fourth never
    changes."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        first, second = dice.gauss(-1, 0.5), dice.gauss(2, 3)
        found.append((first, second, 2 * second + dice.gauss(0, 1e-3), 1.0))
    return found, [one[0] + dice.gauss(0, 0.3) > -1 for one in found]


@pytest.mark.parametrize("count", [1, 2, 30, 400])
def test_newton_finds_the_minimum_that_scipy_finds(count: int) -> None:
    features, same = answers(count)
    fit = fitted(features, same)
    z = np.hstack([(np.array(features) - fit.means) / fit.scales, np.ones((count, 1))])
    wanted = targets(same)
    theirs = minimize(loss, np.zeros(5), args=(z, wanted), tol=1e-12)
    assert loss(np.array(fit.weights), z, wanted) <= theirs.fun + 1e-9
    assert fit.weights == pytest.approx(theirs.x, abs=1e-3)
    assert fit.weights[3] == pytest.approx(0)
    for one, row in zip(features, z, strict=True):
        assert fit.of(one) == pytest.approx(1 / (1 + math.exp(-float(row @ np.array(fit.weights)))))


def test_the_mean_probability_is_the_mean_of_the_targets() -> None:
    """The intercept is not penalised, so the slope in its direction is 0 at the minimum."""
    features, same = answers(100)
    fit = fitted(features, same)
    assert np.mean([fit.of(one) for one in features]) == pytest.approx(np.mean(targets(same)))


def test_what_was_never_the_same_has_platts_probability() -> None:
    features, _same = answers(8)
    fit = fitted(features, [False] * 8)
    assert fit.weights[:4] == pytest.approx([0] * 4, abs=1e-9)
    assert fit.of(features[0]) == pytest.approx(1 / 10)
    assert fitted(features, [True] * 8).of(features[0]) == pytest.approx(9 / 10)


def test_two_kinds_that_are_apart_have_finite_weights() -> None:
    features = [(float(k > 9),) for k in range(20)]
    fit = fitted(features, [k > 9 for k in range(20)])
    assert 0.8 < fit.of((1.0,)) < 1
    assert fit.of((0.0,)) == pytest.approx(1 - fit.of((1.0,)))


def test_it_tells_new_answers_apart() -> None:
    fit = fitted(*answers(200))
    features, same = answers(200, seed=1)
    assert np.mean([(fit.of(one) > 0.5) == right for one, right in zip(features, same, strict=True)]) > 0.75


@pytest.mark.parametrize("feature", [math.nan, math.inf, -math.inf])
def test_a_feature_that_is_no_number_has_no_probability(feature: float) -> None:
    assert math.isnan(Logistic((0.0,), (1.0,), (1.0, 0.0)).of((feature,)))


@pytest.mark.parametrize("feature", [-1e9, 1e9])
def test_a_far_feature_has_a_probability(feature: float) -> None:
    assert Logistic((0.0,), (1.0,), (1.0, 0.0)).of((feature,)) == float(feature > 0)


def test_no_answers_teach_nothing() -> None:
    with pytest.raises(ValueError, match="no answers"):
        fitted([], [])
