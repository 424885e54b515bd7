"""Define the rules of a cascade, which turn the edge model's distributions into one score of confidence."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from bench.engine import Engine


class Rule(ABC):
    """Score an answer by the distributions from which its tokens were chosen.

    The score of an answer is the mean over its tokens, including the end token. ``sure`` is the side of the
    threshold on which the edge model's answer is kept. ``range`` is the lowest and the highest possible
    score. ``scored_twice`` names the check that a score of decoding equals that of one pass.
    """

    sure: ClassVar[Literal["above", "below"]] = "above"
    range: ClassVar[tuple[float, float]]
    scored_twice: ClassVar[str] = "score of a short reply, and of one pass over it"

    @abstractmethod
    def of_step(self, logits: Any) -> Any:
        """Return the score of each row of ``logits`` [rows, vocabulary], as a tensor [rows].

        A rule that has its own ``of_answer`` may return several numbers for each row, [rows, numbers].
        """

    def of_answer(self, steps: Sequence[Any], most: int) -> float:
        """Return the score of an answer from the result of ``of_step`` for each of its tokens.

        ``most`` is the most tokens that the answer could have.
        """
        return math.fsum(steps) / len(steps)

    def of_answers(
        self,
        edge: Engine,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        steps: Sequence[Sequence[Any]],
        most: int,
    ) -> list[float]:
        """Return the score of each answer of a batch, by default that of ``of_answer``.

        ``prompts`` and ``answers`` are in the edge model's tokens; answers have no end token. A rule may ask
        the edge model again; that time counts as the edge model's.
        """
        return [self.of_answer(of, most) for of in steps]

    def of_choices(self, scores: Sequence[float]) -> float:
        """Return the score of a closed question from the log-likelihoods of its choices (nats).

        They are used as the logits of a distribution over the choices.
        """
        import torch

        return float(self.of_step(torch.tensor([list(scores)], dtype=torch.float64))[0])

    def with_settings(self, settings: Mapping[str, Any]) -> Rule:
        """Return the rule with its own settings from the YAML; most rules have none."""
        return self

    def escalates(self, score: float, threshold: float) -> bool:
        """Return whether a request with this score goes to the large model; at the threshold it does not."""
        return score < threshold if self.sure == "above" else score > threshold


class LearningRule(Rule):
    """Score answers with trained classifiers, one for each form of question (``choices`` and ``replies``).

    A worker trains the classifiers on the features below, before the first request.
    """

    @abstractmethod
    def features(self, steps: Sequence[Any], most: int) -> tuple[float, ...]:
        """Return the features of a reply; the arguments are those of ``of_answer``."""

    @abstractmethod
    def features_of_choices(self, scores: Sequence[float]) -> tuple[float, ...]:
        """Return the features of a closed question from the log-likelihoods of its choices (nats)."""

    @abstractmethod
    def trained(self, by_form: Mapping[str, Any]) -> LearningRule:
        """Return the rule with these trained classifiers, by form of question."""
