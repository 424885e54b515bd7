"""What every rule of a cascade does unless it has its own way: the mean of an answer, and the threshold."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from fake_engine import FakeEngine
from scipy.special import softmax

from bench.engine.confidence import Rule


class Likeliest(Rule):
    """The likeliest token's share."""

    range = (0.0, 1.0)

    def of_step(self, logits: Any) -> Any:
        return logits.softmax(-1).amax(-1)


class Below(Likeliest):
    sure = "below"


def test_the_score_of_an_answer_is_the_mean_over_its_tokens() -> None:
    steps = (0.1, 0.2, 0.9)
    assert Likeliest().of_answer(steps, 50) == pytest.approx(np.mean(steps), rel=1e-15)
    both = Likeliest().of_answers(FakeEngine(), [[1]] * 2, [[1], [2]], [steps, (0.5,)], 50)
    assert both == pytest.approx([0.4, 0.5])
    assert Likeliest().with_settings({}).of_answer((0.25,), 1) == 0.25


def test_choices_are_a_distribution_of_their_own() -> None:
    scores = (-1.0, -2.5, -0.5)
    assert Likeliest().of_choices(scores) == pytest.approx(softmax(scores).max(), rel=1e-12)


@pytest.mark.parametrize(
    ("sure", "score", "sent"),
    [("above", 0.49, True), ("above", 0.5, False), ("above", 0.51, False),
     ("below", 0.49, False), ("below", 0.5, False), ("below", 0.51, True)],
)  # fmt: skip
def test_at_the_threshold_the_answer_is_kept(
    sure: Literal["above", "below"], score: float, sent: bool
) -> None:
    rule = Likeliest() if sure == "above" else Below()
    assert rule.escalates(score, 0.5) is sent
