"""What workers reply about drift: the evaluation text, its windows, and what suites were answered.

Standard library only, as all replies of a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.records.cascades import BothAnswered
from bench.records.plain import Json

BY_TEXT = "drift by text only"  # how the reason of a row begins whose replies were compared


@dataclass(frozen=True)
class Corpus:
    """The evaluation text as tokens: how many there are, and a digest of them."""

    tokens: int
    digest: str


@dataclass(frozen=True)
class DriftWindow:
    """One window of the evaluation text, with a value for each scored position. ``more`` holds the values of
    further statistics by name, ``kinds`` a letter for each position (bench/records/token_kinds.py)."""

    kld: tuple[float, ...]
    same_top: tuple[int, ...]
    ln_p_base: tuple[float, ...]
    ln_p_variant: tuple[float, ...]
    more: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kinds: str = ""

    def __hash__(self) -> int:
        """Hash the statistics that every window has, and leave out the others."""
        return hash((self.kld, self.same_top, self.ln_p_base, self.ln_p_variant))


@dataclass(frozen=True)
class Activations:
    """What linear layers read on some windows, where its ``format`` has an end: how many numbers were
    ``looked`` at, how many were at the end in which of the ``layers``, and ``reach``, the share of the format
    that the furthest one uses."""

    format: str
    looked: int
    reach: float
    layers: Mapping[str, int] = field(default_factory=dict)

    def __hash__(self) -> int:
        """Hash all but the layers."""
        return hash((self.format, self.looked, self.reach))


@dataclass(frozen=True)
class Windows:
    """Drift over some windows of the evaluation text; none from the side that only sends its logits.

    ``routed`` says how many tokens of the windows each expert of each layer got; empty without experts.
    ``memory`` has the peaks of scoring so far, in a process that uses a GPU.
    ``logits`` are the smallest and the largest logit of each window, of the side that answers.
    ``activations`` is None where no layer reads a format with an end, and where nobody can look.
    """

    windows: tuple[DriftWindow, ...]
    routed: tuple[tuple[int, ...], ...] = ()
    memory: Mapping[str, int | None] | None = None
    logits: tuple[tuple[float, float], ...] = ()
    activations: Activations | None = None


@dataclass(frozen=True)
class SuiteAnswers:
    """What a model answered to the items of a behaviour suite: one entry for each item.

    ``scores`` are the log-likelihoods (nats) of an item's choices, ``replies`` the texts of greedy replies; a
    suite has one of the two. An entry is None if the item did not fit the model's context. ``digest`` is that
    of the items asked; the baseline of a run also keeps the items themselves.
    ``both`` is what the two models of a cascade answered.
    ``judged`` has the values that lm-eval gave to each document instead, in the order of its item's
    ``metrics``; ``about`` names lm-eval's version and those of its tasks.
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
    """What a model answered to requests of lm-eval, one entry for each; None if it did not fit the context.

    ``likelihoods`` are (ln P of a continuation in nats, whether greedy decoding would write it), ``replies``
    the texts of greedy replies; one of the two is there.
    """

    likelihoods: tuple[tuple[float, bool] | None, ...] = ()
    replies: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Together:
    """Requests that were decoded alone and in one batch, and how many of them got other tokens; ``reason``
    says why none was."""

    requests: int
    differ: int
    reason: str = ""


@dataclass(frozen=True)
class SaidTexts:
    """The greedy replies of two servers to one prompt, as text: ``baseline`` and ``variant``, and what the
    baseline's server said when it was asked ``again``. ``cut`` counts those of the baseline and the variant
    that reached the output limit."""

    baseline: str
    again: str
    variant: str
    cut: int = 0
