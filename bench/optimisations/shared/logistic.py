"""Fit a logistic regression of a few features by Newton's method, small enough for the process that serves.

It minimises Σ −(t ln p + (1 − t) ln(1 − p)) + |w|²/2 over standardised features, where p is the logistic
function of w·z + b, and b is not penalised. The targets t are those of Platt (1999): (n₁ + 1) ÷ (n₁ + 2) for
the n₁ answers that are the same, and 1 ÷ (n₀ + 2) for the others. So there is one finite minimum even where
the features separate the two kinds, or where only one kind was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STEPS = 100
ENOUGH = 1e-9  # the largest change of a weight at which the fit has ended
HALVINGS = 30  # of a step that goes beyond the minimum


@dataclass(frozen=True)
class Logistic:
    """A fitted classifier: the mean and the scale of each feature, their weights, and the intercept last."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]

    def of(self, features: Sequence[float]) -> float:
        """Return the probability for these features; NaN if one of them is no finite number."""
        *slopes, total = self.weights
        for one, mean, scale, slope in zip(features, self.means, self.scales, slopes, strict=True):
            total += slope * (one - mean) / scale
        if not math.isfinite(total):
            return math.nan
        small = math.exp(-abs(total))
        return 1 / (1 + small) if total >= 0 else small / (1 + small)


def fitted(features: Sequence[Sequence[float]], same: Sequence[bool]) -> Logistic:
    """Return the classifier of these answers, of which ``same`` says whether the large model's was the same.

    A feature that never changes has the scale 1, so its weight is 0. Raises ValueError without answers.
    """
    import numpy as np

    if not features:
        raise ValueError("there are no answers to learn from")
    found = np.asarray(features, dtype=float)
    means, spread = found.mean(0), found.std(0)
    scales = np.where(spread > 1e-9 * (1 + np.abs(means)), spread, 1.0)
    z = np.hstack([(found - means) / scales, np.ones((len(found), 1))])
    weights = _newton(z, targets(same))
    return Logistic(tuple(means.tolist()), tuple(scales.tolist()), tuple(weights.tolist()))


def targets(same: Sequence[bool]) -> Any:
    """Return Platt's target of each answer."""
    import numpy as np

    yes = sum(same)
    return np.where(np.asarray(same), (yes + 1) / (yes + 2), 1 / (len(same) - yes + 2))


def loss(weights: Any, z: Any, wanted: Any) -> float:
    """Return what is minimised, at ``weights``; the last column of ``z`` is 1 for the intercept."""
    import numpy as np

    total = z @ weights
    return float((np.logaddexp(0, total) - wanted * total).sum() + (weights[:-1] ** 2).sum() / 2)


def _newton(z: Any, wanted: Any) -> Any:
    """Return the weights at the minimum: steps of Newton, halved until the loss does not rise."""
    import numpy as np

    penalty = np.diag([1.0] * (z.shape[1] - 1) + [0.0])
    weights = np.zeros(z.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(z @ weights, -500, 500)))
        slope = z.T @ (p - wanted) + penalty @ weights
        step = np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + penalty, slope)
        for _ in range(HALVINGS):
            if loss(weights - step, z, wanted) <= loss(weights, z, wanted):
                break
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < ENOUGH:
            break
    return weights
