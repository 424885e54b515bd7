"""Define the replies of workers about drift: the evaluation text, its windows, and answers to suites.

This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.cascades import BothAnswered
from bench.records.json_form import Json

BY_TEXT = "drift by text only"  # the first words of a row's reason if only its replies could be compared
OTHER_TOKENIZER = "another tokenizer than the baseline's"  # in the reason of a row with other tokens


@dataclass(frozen=True)
class Corpus:
    """Describe the evaluation text as tokens: their number, and a digest of them."""

    tokens: int
    digest: str


@dataclass(frozen=True)
class DriftWindow:
    """Hold the drift at each scored position of one window of the evaluation text.

    ``kld`` is the KL divergence from the baseline in nats, ``same_top`` is 1 where both models rank the same
    token first, and ``ln_p_base`` and ``ln_p_variant`` are ln P of the token that the text has. ``more``
    holds further statistics by name. ``kinds`` is a string with one letter per position, the kind of its
    token (see ``token_kinds.KINDS``).
    """

    kld: tuple[float, ...]
    same_top: tuple[int, ...]
    ln_p_base: tuple[float, ...]
    ln_p_variant: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kinds: str = ""

    def __hash__(self) -> int:
        """Hash the statistics that every window has; ``more`` is a mapping, which cannot be hashed."""
        return hash((self.kld, self.same_top, self.ln_p_base, self.ln_p_variant))


@dataclass(frozen=True)
class Activations:
    """Count the activations that reach the end of their number format, in the inputs of linear layers.

    ``looked`` is how many numbers were examined on these windows. ``layers`` maps the name of a layer to how
    many of its inputs were at the largest value of ``format`` or beyond. ``reach`` is the largest input
    divided by the largest value of the format.
    """

    format: str
    looked: int
    reach: float
    layers: Mapping[str, int] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash all fields but ``layers``, a mapping, which cannot be hashed."""
        return hash((self.format, self.looked, self.reach))


@dataclass(frozen=True)
class Windows:
    """Hold one side's reply about some windows of the evaluation text.

    ``windows`` is empty for the side that only sends its logits to the other. ``routed`` is [layers][experts]
    tokens of these windows; empty for a model without experts. ``memory`` has the peaks of scoring so far, in
    a process that uses a GPU. ``logits`` has the smallest and the largest logit of each window, of the side
    that replies. ``activations`` is None if no layer's input format has a largest value, or if the inputs of
    the layers cannot be observed.
    """

    windows: tuple[DriftWindow, ...]
    routed: tuple[tuple[int, ...], ...] = ()
    memory: Mapping[str, int | None] | None = None
    logits: tuple[tuple[float, float], ...] = ()
    activations: Activations | None = None


@dataclass(frozen=True)
class SuiteAnswers:
    """Record a model's answers to a behaviour suite, with one entry per item.

    A suite has either ``scores``, the log-likelihoods (nats) of an item's choices, or ``replies``, the texts
    of greedy replies. An entry is None if the item did not fit the model's context. ``digest`` is the digest
    of the items; the baseline of a run also keeps the ``items`` themselves. ``both`` holds the answers of
    the two models of a cascade.

    A suite of lm-eval has neither: ``judged`` holds the values that lm-eval gave to each document, in the
    order of its item's ``metrics``, and ``about`` the versions of lm-eval and of its tasks.
    """

    digest: str
    scores: tuple[tuple[float, ...] | None, ...] = ()
    replies: tuple[str | None, ...] = ()
    items: tuple[Json, ...] = ()
    both: BothAnswered | None = None
    judged: tuple[tuple[float, ...] | None, ...] = ()
    about: Json = field(default_factory=dict)


@dataclass(frozen=True)
class RequestAnswers:
    """Record a model's answers to requests of lm-eval, with one entry per request.

    The answers are either ``likelihoods``, pairs (ln P of a continuation in nats, whether greedy decoding
    would write it), or ``replies``, the texts of greedy replies. An entry is None if the request did not fit
    the context.
    """

    likelihoods: tuple[tuple[float, bool] | None, ...] = ()
    replies: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Together:
    """Count the requests that get other tokens in a batch than alone.

    ``requests`` were decoded both ways, and ``differ`` of them got other tokens. ``reason`` says why nothing
    was compared.
    """

    requests: int
    differ: int
    reason: str = ""


@dataclass(frozen=True)
class SaidTexts:
    """Record the greedy replies of two servers to one prompt, as text.

    ``again`` is the reply of the baseline's server when it was asked a second time. ``cut`` is how many of
    ``baseline`` and ``variant`` reached the output limit (0 to 2).
    """

    baseline: str
    again: str
    variant: str
    cut: int = 0
