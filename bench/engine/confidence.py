"""The rules of a cascade: from the edge model's distributions to one number that says how sure it was."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from bench.engine import Engine


class Rule(ABC):
    """Scores an answer by its distributions over the next token.

    The score of an answer is the mean over its tokens, the one that ended it included. ``sure`` is the side
    of the threshold on which the edge's answer is kept, and ``range`` holds every score that can be.
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
        """Return the score of an answer from what ``of_step`` gave for each of its tokens. ``most`` is how
        many tokens it was allowed."""
        return math.fsum(steps) / len(steps)

    def of_answers(
        self,
        edge: Engine,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        steps: Sequence[Sequence[Any]],
        most: int,
    ) -> list[float]:
        """Return the score of each answer of a batch: what ``of_answer`` says of its steps.

        ``prompts`` and ``answers`` are the edge model's tokens, an answer without the token that ended it. A
        rule may ask the edge model more; its time is the edge's.
        """
        return [self.of_answer(of, most) for of in steps]

    def of_choices(self, scores: Sequence[float]) -> float:
        """Return the score of a closed question from the log-likelihoods of its choices (nats), which are the
        logits of a distribution over the choices."""
        import torch

        return float(self.of_step(torch.tensor([list(scores)], dtype=torch.float64))[0])

    def with_settings(self, settings: Mapping[str, Any]) -> Rule:
        """Return the rule with settings of its own, from the YAML; most have none."""
        return self

    def escalates(self, score: float, threshold: float) -> bool:
        """Return whether a request with this score goes on to the large model. At the threshold it stays."""
        return score < threshold if self.sure == "above" else score > threshold


class LearningRule(Rule):
    """A rule with a classifier for each form of question, ``choices`` and ``replies``, that must be trained.

    Its features are what the classifiers see. A worker trains it before the first request.
    """

    @abstractmethod
    def features(self, steps: Sequence[Any], most: int) -> tuple[float, ...]:
        """Return the features of a reply, from the same as ``of_answer`` gets."""

    @abstractmethod
    def features_of_choices(self, scores: Sequence[float]) -> tuple[float, ...]:
        """Return the features of a closed question, from the log-likelihoods of its choices."""

    @abstractmethod
    def trained(self, by_form: Mapping[str, Any]) -> LearningRule:
        """Return the rule with these classifiers."""
