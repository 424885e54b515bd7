"""Escalate answers that were near to another: the mean margin of the likeliest token before the second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.confidence import Rule
from bench.optimisations.shared.cascading import A_DEVICE, CascadeParams

REQUIRES = ("torch",)
EXAMPLE = {"edge": A_DEVICE, "threshold": 0.5}


class Margin(Rule):
    """The probability of the likeliest token minus that of the second: 1 if the model was certain."""

    range = (0.0, 1.0)

    def of_step(self, logits: Any) -> Any:
        """Return the margin of each row."""
        import torch

        two = torch.softmax(logits.float(), -1).topk(2, dim=-1).values
        return two[..., 0] - two[..., 1]


RULE = Margin()


@dataclass(frozen=True)
class Params(CascadeParams):
    """``threshold`` is a mean margin, 0 to 1: answers below it go on to the large model."""

    rule = RULE
