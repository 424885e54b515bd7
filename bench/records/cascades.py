"""What a cascade did with each request: a small model answered, and a rule sent some on to a large one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cascaded:
    """One request of a cascade.

    ``score`` says how sure the edge model was, by the rule. ``escalated`` says that the rule sent the request
    on; with ``offline`` no reply came back, and the edge's answer stood. ``edge_s`` and ``cloud_s`` are the
    seconds in which each model worked on it, a batch's shared out evenly, and ``link_s`` those that the link
    took, waiting for one that was down included. The bytes are those of the texts that crossed the link.
    A large model that is a server elsewhere is paid for the ``billed_in`` and ``billed_out`` tokens of a
    request, and ``refused`` says why no answer of it came back; ``''`` if one did.
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
        """Return whether the request came to the large model.

        Its work is paid even if the answer was lost on the way back.
        """
        return self.cloud_s > 0

    @property
    def from_cloud(self) -> bool:
        """Return whether the answer is the large model's."""
        return self.escalated and not self.offline


@dataclass(frozen=True)
class Answered:
    """The answers of one of the two models to all items of a suite; see ``SuiteAnswers``."""

    scores: tuple[tuple[float, ...] | None, ...] = ()
    replies: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class BothAnswered:
    """Both models' answers to the items of a suite, whatever the rule said, from which every threshold can be
    judged.

    ``requests`` has one entry for each item, with the seconds and bytes of both models; None for an item that
    one of them could not read.
    """

    requests: tuple[Cascaded | None, ...]
    edge: Answered
    cloud: Answered
