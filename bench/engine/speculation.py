"""Decode speculatively: a drafter proposes tokens, and the model verifies them.

A round drafts up to γ tokens and reads them in one pass of the model. It keeps the drafted tokens that the
model would have chosen itself, and adds the next token, which the same pass chose (Leviathan et al., arXiv
2211.17192, at temperature 0). The text is that of the model alone, except where rounding decides between two
tokens with nearly equal logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from bench.records import Speculated

Verify = Callable[[Sequence[int]], list[int]]
Forget = Callable[[int], None]


class Drafter(ABC):
    """Propose the next tokens of one sequence."""

    model: Any = None  # the drafter's own model; None if it has no weights

    @abstractmethod
    def begin(self) -> None:
        """Start a new sequence, and forget the previous one."""

    @abstractmethod
    def propose(self, context: Sequence[int], most: int) -> list[int]:
        """Return up to ``most`` tokens that may follow ``context``, the prompt with all tokens so far."""

    def cache_bytes(self) -> int:
        """Return the bytes that the drafter keeps for the sequence."""
        return 0


@dataclass
class Speculator:
    """Count the tokens that a drafter proposed and that were kept, since the last call of ``read``."""

    drafter: Drafter
    passes: int = 0
    drafted: int = 0
    accepted: int = 0
    drafting_ns: int = 0
    verifying_ns: int = 0

    def read(self) -> Speculated:
        """Return the counts and reset them."""
        counts = Speculated(self.passes, self.drafted, self.accepted, self.drafting_ns, self.verifying_ns)
        self.passes = self.drafted = self.accepted = self.drafting_ns = self.verifying_ns = 0
        return counts


@dataclass
class Speculation:
    """Decode one sequence.

    ``context`` holds all tokens so far, ``ready`` those that are verified but not returned yet, and ``room``
    is how many tokens may still be returned.
    """

    context: list[int]
    room: int
    ready: list[int] = field(default_factory=list)

    def next(self, speculator: Speculator, verify: Verify, forget: Forget) -> int:
        """Return the next token.

        ``verify`` reads the last token of the context, which is not in the cache yet, and the draft, and
        returns the token that the model chooses after each. ``forget`` removes the last n tokens from the
        cache. It is called after every pass, also with 0, because a cache with a window then drops the tokens
        that it kept for this call.
        """
        if not self.ready:
            self.ready = self._round(speculator, verify, forget)
        token = self.ready.pop(0)
        self.room -= 1
        return token

    def _round(self, speculator: Speculator, verify: Verify, forget: Forget) -> list[int]:
        started = perf_counter_ns()
        draft = speculator.drafter.propose(self.context, self.room - 1) if self.room > 1 else []
        drafted = perf_counter_ns()
        chosen = verify([self.context[-1], *draft])
        kept = next((n for n, (a, b) in enumerate(zip(draft, chosen, strict=False)) if a != b), len(draft))
        forget(len(draft) - kept)
        speculator.passes += 1
        speculator.drafted += len(draft)
        speculator.accepted += kept
        speculator.drafting_ns += drafted - started
        speculator.verifying_ns += perf_counter_ns() - drafted
        self.context += chosen[: kept + 1]
        return chosen[: kept + 1]
