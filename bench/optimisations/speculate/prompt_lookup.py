"""Draft from the text itself: what followed the last few tokens when they stood there before.

Source: Saxena 2023, prompt lookup decoding. It costs no weights and hardly any time. It pays where a reply
repeats its prompt, as summaries and edits of code do, and not where it says something new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check
from bench.engine.speculation import Drafter
from bench.optimisations.shared import classes
from bench.optimisations.shared.drafting import drafts

REQUIRES = ("torch",)
DECODING = True


@dataclass(frozen=True)
class Params:
    """``tokens`` is the number of tokens of a draft, at most. The longest match of the last tokens counts: of
    ``longest`` tokens first, then fewer, down to ``shortest``."""

    tokens: int = 4
    longest: int = 3
    shortest: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= 64:
            raise ValueError("tokens must be 1 to 64")
        if not 1 <= self.shortest <= self.longest <= 16:
            raise ValueError("1 ≤ shortest ≤ longest ≤ 16 must hold")


class Lookup(Drafter):
    """Finds the last tokens earlier in the context."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def begin(self) -> None:
        """Nothing is kept from one sequence to the next."""

    def propose(self, context: Sequence[int], most: int) -> list[int]:
        """Return what followed the latest earlier place of the last tokens."""
        tokens = list(context)
        for length in range(self.params.longest, self.params.shortest - 1, -1):
            if length >= len(tokens):
                continue
            last = tokens[-length:]
            for place in range(len(tokens) - length - 1, -1, -1):
                if tokens[place : place + length] == last:
                    return tokens[place + length : place + length + min(self.params.tokens, most)]
        return []


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_drafts(config)


def apply(model: Any, params: Params) -> Changed:
    """Leave the model as it is, and draft from the text."""
    return Changed(model, drafter=Lookup(params))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that tokens were drafted for a text that repeats itself."""
    return drafts(after)
