"""Escalate answers whose tokens were unlikely: the mean log-probability of the tokens that were chosen.

It needs nothing but what decoding computes anyway. Source: Gupta et al. 2024, arXiv 2404.10136, who call it
Chow-Average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bench.engine.confidence import Rule
from bench.optimisations.shared.cascading import A_DEVICE, CascadeParams

REQUIRES = ("torch",)
EXAMPLE = {"edge": A_DEVICE, "threshold": -0.7}


class LogProbability(Rule):
    """ln p of the likeliest token (nats), which greedy decoding chooses: 0 if the model was certain."""

    range = (-math.inf, 0.0)

    def of_step(self, logits: Any) -> Any:
        """Return the largest log-probability of each row."""
        import torch

        return torch.log_softmax(logits.float(), -1).amax(-1)


RULE = LogProbability()


@dataclass(frozen=True)
class Params(CascadeParams):
    """``threshold`` is a mean log-probability in nats, at most 0: answers below it go on to the large model.
    An answer whose tokens had probabilities of about a half has -0.69."""

    rule = RULE
