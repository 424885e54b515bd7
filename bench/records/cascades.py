"""Record what a cascade did with each request.

In a cascade a small model (the edge) answers first, and a rule decides which requests a large model (the
cloud) answers again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cascaded:
    """Record what a cascade did with one request.

    ``score`` is the rule's measure of how sure the edge model was. ``escalated`` is true if the rule sent the
    request to the large model. ``offline`` is true if no reply came back over the link; the edge model's
    answer is then used.

    ``edge_s`` and ``cloud_s`` are the seconds that each model worked; the time of a batch is divided equally
    among its requests. ``link_s`` is the time on the link, including the wait for a link that was down. The
    bytes count the texts that crossed the link. If the large model is an API, ``billed_in`` and
    ``billed_out`` are the tokens that it bills, and ``refused`` says why it gave no answer ('' if it did).
    """

    score: float
    escalated: bool
    edge_s: float
    cloud_s: float = 0.0
    link_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    offline: bool = False
    billed_in: int = 0
    billed_out: int = 0
    refused: str = ""

    @property
    def reached(self) -> bool:
        """Return whether the large model worked on the request.

        That work must be paid for even if the answer was lost on the way back.
        """
        return self.cloud_s > 0

    @property
    def from_cloud(self) -> bool:
        """Return whether the answer is the large model's."""
        return self.escalated and not self.offline


@dataclass(frozen=True)
class Answered:
    """Record the answers of one of the two models to all items of a suite, as ``SuiteAnswers`` does."""

    scores: tuple[tuple[float, ...] | None, ...] = ()
    replies: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class BothAnswered:
    """Record the answers of both models to every item of a suite.

    Both models answer every item, whatever the rule decides, so that every threshold can be judged from one
    pass. ``requests`` has one entry per item with the seconds and bytes of both models, or None if the item
    did not fit one of them.
    """

    requests: tuple[Cascaded | None, ...]
    edge: Answered
    cloud: Answered
