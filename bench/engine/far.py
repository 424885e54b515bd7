"""A large model that answers somewhere else, and what is known of each of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bench.engine.cascading import Cascade
from bench.records import Cascaded


@dataclass(frozen=True)
class FarAnswer:
    """One answer: its text, None if none came, and then the ``reason``.

    ``seconds`` are those from asking to the end. ``billed_in`` and ``billed_out`` are the tokens that have to
    be paid: none if the server refused the request, and what it may have computed if the answer was lost.
    """

    text: str | None
    seconds: float
    billed_in: int = 0
    billed_out: int = 0
    reason: str = ""

    def told(self, request: Cascaded, sent_bytes: int) -> Cascaded:
        """Return what was done with a request that went on, with this answer.

        Network and model cannot be told apart from here. The seconds of a request that the server worked on
        are those of the cloud, and of any other one they were waited for the network.
        """
        worked = self.billed_in > 0
        return replace(
            request,
            cloud_s=self.seconds if worked else 0.0,
            link_s=0.0 if worked else self.seconds,
            sent_bytes=sent_bytes if worked else 0,
            received_bytes=len(self.text.encode()) if self.text is not None else 0,
            offline=self.text is None,
            billed_in=self.billed_in,
            billed_out=self.billed_out,
            refused=self.reason,
        )


class Far(Protocol):
    """Whatever asks such a model."""

    def ask(self, text: str, input_tokens: int, output_tokens: int) -> FarAnswer:
        """Ask for a greedy answer of at most so many tokens; ``input_tokens`` are those of the text as far as
        they are known here. It never raises for what the server or the network does."""
        ...


class FarCascade(Cascade):
    """A cascade whose large model is a server elsewhere. The tokenizer of the row's own model reads its
    answers, so that they can be compared with the baseline's."""

    def __init__(self, *both: Any, same_tokens: bool, far: Far) -> None:
        super().__init__(*both, same_tokens=same_tokens)
        self.far = far

    def _escalate(
        self, prompts: Sequence[Sequence[int]], texts: Sequence[str], before: Sequence[Cascaded], tokens: int
    ) -> tuple[list[list[int]], list[Cascaded]]:
        """Let the server answer, one request after the other. Where no answer of it comes, the edge's
        stands, and what was spent until then is counted."""
        found = [self.far.ask(text, len(ids), tokens) for ids, text in zip(prompts, texts, strict=True)]
        answers = [self.cloud.encode(one.text or "") for one in found]
        each = zip(found, before, texts, strict=True)
        return answers, [one.told(request, len(text.encode())) for one, request, text in each]
