"""Escalate what a small classifier, trained on other questions, expects the large model to answer otherwise.

A logistic regression gets four features of the edge's answer: the mean log-probability, entropy and margin of
its tokens, and the share of the allowed tokens that it used. It is trained while the cascade is loaded, on
one half of the questions of a suite; all figures of that suite are of the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.engine.confidence import LearningRule
from bench.optimisations.cascade import entropy, log_probability, margin
from bench.optimisations.shared.cascading import A_DEVICE, CascadeParams
from bench.optimisations.shared.logistic import Logistic

REQUIRES = ("numpy", "torch")
EXAMPLE = {"edge": A_DEVICE, "threshold": 0.5}
PARTS = (log_probability.RULE, entropy.RULE, margin.RULE)
UNTRAINED = Logistic((0.0,) * 4, (1.0,) * 4, (0.0,) * 5)


@dataclass(frozen=True)
class Learnt(LearningRule):
    """The probability that the large model would give the same answer: 1 if the classifier is certain of it.

    ``by_form`` has a classifier for replies and one for closed questions, whose features differ. An untrained
    one gives every answer 0.5.
    """

    by_form: Mapping[str, Logistic] = field(default_factory=dict)

    range = (0.0, 1.0)

    def of_step(self, logits: Any) -> Any:
        """Return the log-probability, entropy and margin of each row, as a tensor [rows, 3]."""
        import torch

        return torch.stack([part.of_step(logits) for part in PARTS], dim=-1)

    def features(self, steps: Sequence[Any], most: int) -> tuple[float, ...]:
        """Return the four features of a reply."""
        means = (sum(column) / len(steps) for column in zip(*steps, strict=True))
        return (*means, len(steps) / most)

    def features_of_choices(self, scores: Sequence[float]) -> tuple[float, ...]:
        """Return the features of the distribution over the choices; a choice has no length."""
        return (*(part.of_choices(scores) for part in PARTS), 1.0)

    def of_answer(self, steps: Sequence[Any], most: int) -> float:
        """Return what the classifier of replies says."""
        return self.by_form.get("replies", UNTRAINED).of(self.features(steps, most))

    def of_choices(self, scores: Sequence[float]) -> float:
        """Return what the classifier of closed questions says."""
        return self.by_form.get("choices", UNTRAINED).of(self.features_of_choices(scores))

    def trained(self, by_form: Mapping[str, Any]) -> Learnt:
        """Return the rule with these classifiers."""
        return Learnt(by_form)


RULE = Learnt()


@dataclass(frozen=True)
class Params(CascadeParams):
    """``threshold`` is a probability, 0 to 1, that the large model would answer the same: answers below it go
    on to the large model. The classifier of closed questions is trained on a half of the suite ``choices``,
    that of replies on a half of the suite ``replies``."""

    rule = RULE
    choices: str = "factuality"
    replies: str = "arithmetic"
