"""Use a large model behind an API as the second model of a cascade, and record each of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bench.engine.cascading import Cascade
from bench.records import Cascaded


@dataclass(frozen=True)
class ApiAnswer:
    """Hold one answer: its text, or None and the ``reason`` why no answer came.

    ``seconds`` is the time from asking to the end. ``billed_in`` and ``billed_out`` are the tokens that must
    be paid: none if the server refused the request, and all that it may have computed if the answer was lost.
    """

    text: str | None
    seconds: float
    billed_in: int = 0
    billed_out: int = 0
    reason: str = ""

    def told(self, request: Cascaded, sent_bytes: int) -> Cascaded:
        """Return the record of an escalated request, completed with this answer.

        The time of the network cannot be separated from the time of the model. If the server worked on the
        request, all seconds count as the cloud's; if not, they count as the link's.
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


class LargeModelApi(Protocol):
    """Define the client that asks such a model."""

    def ask(self, text: str, input_tokens: int, output_tokens: int) -> ApiAnswer:
        """Ask for a greedy answer of at most ``output_tokens`` tokens.

        ``input_tokens`` is the length of the text by our own tokenizer, which may differ from the server's.
        This never raises for an error of the server or the network; the answer then has a ``reason``.
        """
        ...


class ApiCascade(Cascade):
    """Run a cascade whose large model is an API.

    The tokenizer of the row's own model encodes the answers, so that they can be compared with the
    baseline's.
    """

    def __init__(self, *both: Any, same_tokens: bool, api: LargeModelApi) -> None:
        super().__init__(*both, same_tokens=same_tokens)
        self.api = api

    def _escalate(
        self, prompts: Sequence[Sequence[int]], texts: Sequence[str], before: Sequence[Cascaded], tokens: int
    ) -> tuple[list[list[int]], list[Cascaded]]:
        """Let the server answer, one request after the other.

        If no answer comes, the edge model's answer is used, and the time and tokens spent are counted.
        """
        replies = [self.api.ask(text, len(ids), tokens) for ids, text in zip(prompts, texts, strict=True)]
        answers = [self.cloud.encode(reply.text or "") for reply in replies]
        each = zip(replies, before, texts, strict=True)
        return answers, [reply.told(request, len(text.encode())) for reply, request, text in each]
