"""The rules of a cascade: from the edge model's distributions to one number that says how sure it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal


class Rule(ABC):
    """Scores an answer by its distributions over the next token.

    The score of an answer is the mean over its tokens, the one that ended it included. ``sure`` is the side
    of the threshold on which the edge's answer is kept, and ``range`` holds every score that can be.
    """

    sure: ClassVar[Literal["above", "below"]] = "above"
    range: ClassVar[tuple[float, float]]

    @abstractmethod
    def of_step(self, logits: Any) -> Any:
        """Return the score of each row of ``logits`` [rows, vocabulary], as a tensor [rows]."""

    def of_choices(self, scores: Sequence[float]) -> float:
        """Return the score of a closed question from the log-likelihoods of its choices (nats), which are the
        logits of a distribution over the choices."""
        import torch

        return float(self.of_step(torch.tensor([list(scores)], dtype=torch.float64))[0])

    def escalates(self, score: float, threshold: float) -> bool:
        """Return whether a request with this score goes on to the large model. At the threshold it stays."""
        return score < threshold if self.sure == "above" else score > threshold
