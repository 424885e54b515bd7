"""Escalate answers that the edge model seldom gives again: the share of drawn answers that agree with it.

The edge model answers once greedily, and then draws further answers at a temperature (self-consistency, Wang
et al. 2023, arXiv 2203.11171). All of them cost its time. It needs no probabilities that mean what they say.
"""

from __future__ import annotations

import hashlib
import math
import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.engine.confidence import Rule
from bench.engine.decoding import until_ended
from bench.optimisations.cascade import log_probability
from bench.optimisations.shared.cascading import A_DEVICE, CascadeParams
from bench.records.thinking import before_end

if TYPE_CHECKING:
    from bench.engine import Engine

REQUIRES = ("torch",)
EXAMPLE = {"edge": A_DEVICE, "threshold": 0.5}
MOST_SAMPLES, MOST_TEMPERATURE = 64, 10.0


@dataclass(frozen=True)
class Agreement(Rule):
    """The share of ``samples`` drawn answers that are the greedy one: 1 if all are.

    Answers are compared as words without case and punctuation. The same request draws the same answers.
    """

    samples: int = 5
    temperature: float = 0.7

    range = (0.0, 1.0)
    scored_twice = "score of a short reply, and of the same answers drawn again"

    def of_step(self, logits: Any) -> Any:
        """Return the largest log-probability of each row, which shows whether the logits are numbers."""
        return log_probability.RULE.of_step(logits)

    def of_answers(
        self,
        edge: Engine,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        steps: Sequence[Sequence[Any]],
        most: int,
    ) -> list[float]:
        """Return the share of drawn answers that agree with each answer; NaN where logits were no numbers."""
        return [
            self._share(edge, prompt, answer, most) if all(map(math.isfinite, of)) else math.nan
            for prompt, answer, of in zip(prompts, answers, steps, strict=True)
        ]

    def of_choices(self, scores: Sequence[float]) -> float:
        """Return the share of draws from the distribution over the choices that are its likeliest choice."""
        best = max(scores)
        if not math.isfinite(best):
            return math.nan
        weights = [math.exp((one - best) / self.temperature) for one in scores]
        dice = random.Random(seed_of(repr(tuple(scores))))
        drawn = dice.choices(range(len(scores)), weights, k=self.samples)
        return drawn.count(list(scores).index(best)) / self.samples

    def with_settings(self, settings: Mapping[str, Any]) -> Agreement:
        """Return the rule with other ``samples`` and ``temperature``."""
        return Agreement(**settings)

    def _share(self, edge: Engine, prompt: Sequence[int], answer: Sequence[int], most: int) -> float:
        with edge.choosing(self.drawing(seed_of(repr(tuple(prompt))))):
            drawn = edge.tokens(until_ended(edge, [list(prompt)] * self.samples, most))
        ends, wanted = set(edge.end_ids()), normalised(edge.text(answer))
        return sum(normalised(edge.text(before_end(ids, ends))) == wanted for ids in drawn) / self.samples

    def drawing(self, seed: int) -> Any:
        """Return a function that draws a token for each row of logits, the same ones for the same seed."""
        import torch

        dice: list[Any] = []

        def draw(logits: Any) -> Any:
            if not dice:
                dice.append(torch.Generator(device=logits.device).manual_seed(seed))
            p = torch.softmax(logits.float() / self.temperature, -1)
            return torch.multinomial(p, 1, generator=dice[0])

        return draw


def seed_of(text: str) -> int:
    """Return a seed that depends on a text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def normalised(text: str) -> str:
    """Return the words of a text in one form: without case, punctuation, and differences of spacing."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(
        "".join(" " if unicodedata.category(one).startswith("P") else one for one in plain).split()
    )


RULE = Agreement()


@dataclass(frozen=True)
class Params(CascadeParams):
    """``threshold`` is a share, 0 to 1: answers with which fewer of the ``samples`` drawn answers agree go on
    to the large model. They are drawn at ``temperature``."""

    rule = RULE
    samples: int = RULE.samples
    temperature: float = RULE.temperature

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"samples must be 1 to {MOST_SAMPLES}, not {self.samples}")
        if not 0 < self.temperature <= MOST_TEMPERATURE:
            raise ValueError(
                f"temperature must be above 0 and at most {MOST_TEMPERATURE:g}, not {self.temperature:g}"
            )
