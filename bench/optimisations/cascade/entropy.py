"""Escalate answers that could have gone many ways: the mean entropy of the distribution over the next token.

Unlike the log-probability it looks at all tokens, and not at the chosen one alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bench.engine.confidence import Rule
from bench.optimisations.shared.cascading import A_DEVICE, CascadeParams

REQUIRES = ("torch",)
EXAMPLE = {"edge": A_DEVICE, "threshold": 1.0}


class Entropy(Rule):
    """−Σ p ln p (nats): 0 if the model was certain, ln V if all V tokens were equally likely."""

    sure = "below"
    range = (0.0, math.inf)

    def of_step(self, logits: Any) -> Any:
        """Return the entropy of each row."""
        import torch

        return torch.special.entr(torch.softmax(logits.float(), -1)).sum(-1)


RULE = Entropy()


@dataclass(frozen=True)
class Params(CascadeParams):
    """``threshold`` is a mean entropy in nats, 0 or more: answers above it go on to the large model."""

    rule = RULE
