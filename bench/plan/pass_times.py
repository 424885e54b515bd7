"""Compute how long a pass of a server takes: as a run measured it, or estimated from a model's card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded, seen
from bench.plan.roofline import Ceilings, decode, prefill, work

LEAST_SHARE = 0.01


class Steps(Protocol):
    """The passes of one server.

    ``most`` is how many sequences it decodes at once. ``chunk`` is the most tokens in a pass, decoded ones
    and prompts together; None means that each prompt is read as a whole in a separate pass.
    """

    @property
    def most(self) -> int: ...

    @property
    def chunk(self) -> int | None: ...

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a pass that decodes ``decoding`` sequences and reads prompts.

        The decoded sequences have ``context`` tokens in total. The pass reads ``prompt`` tokens of prompts,
        and earlier passes have read ``before`` tokens of the same prompts. ``pairs`` counts the pairs of a
        prompt token and a position that it attends to; None means that the tokens are one whole prompt.
        """
        ...


@dataclass(frozen=True)
class MeasuredSteps:
    """Passes as a run measured them.

    A prompt takes a constant time per token. A step of b sequences takes ``fixed_s + b * each_s``, fitted to
    the batch sizes of the run; ``most`` is the largest of them.
    """

    prompt_token_s: float
    fixed_s: float
    each_s: float
    most: int
    chunk: int | None = None

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a pass. The context has no effect: it is assumed as long as in the run."""
        step = self.fixed_s + decoding * self.each_s if decoding else 0.0
        return step + prompt * self.prompt_token_s


@dataclass(frozen=True)
class Slower:
    """The passes of another server, each of which takes ``factor`` times as long; below 1 they are faster."""

    steps: Steps
    factor: float

    @property
    def most(self) -> int:
        """Return how many sequences are decoded at once, which does not change."""
        return self.steps.most

    @property
    def chunk(self) -> int | None:
        """Return the most tokens in a pass, which do not change."""
        return self.steps.chunk

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a pass."""
        return self.factor * self.steps.seconds(decoding, context, prompt, pairs, before)


def measured_steps(points: Sequence[tuple[int, float]], prompt_token_s: float) -> MeasuredSteps:
    """Fit the time of a step to ``points`` of (batch size, seconds) by non-negative least squares.

    A single batch size gives no slope, so every smaller batch is assumed to take the same time. Raises
    UsageError without points, and for times that are not above 0.
    """
    from scipy.optimize import nnls

    if not points or any(size < 1 or step_s <= 0 for size, step_s in points):
        raise UsageError("a server needs the time of a step, above 0, for at least one batch size")
    most = max(size for size, _ in points)
    if len({size for size, _ in points}) == 1:
        return MeasuredSteps(prompt_token_s, sum(step_s for _, step_s in points) / len(points), 0.0, most)
    (fixed_s, each_s), _residual = nnls(
        [[1.0, float(size)] for size, _ in points], [step_s for _, step_s in points]
    )
    return MeasuredSteps(prompt_token_s, float(fixed_s), float(each_s), most)


@dataclass(frozen=True)
class RooflineSteps:
    """Passes as the roofline of a model and a machine predicts them.

    ``bandwidth_share`` and ``arithmetic_share`` are the shares of the ceilings that an engine reaches. Raises
    UsageError for shares out of range.
    """

    model: Loaded
    ceilings: Ceilings
    most: int
    chunk: int | None
    bandwidth_share: float
    arithmetic_share: float

    def __post_init__(self) -> None:
        for share in (self.bandwidth_share, self.arithmetic_share):
            if not LEAST_SHARE <= share <= 1:
                raise UsageError(f"a share of a ceiling must be from {LEAST_SHARE} to 1, got {share:g}")

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a pass (see ``work`` in `bench.plan.roofline`)."""
        model, mean = self.model, context / decoding if decoding else 0.0
        cached = model.token_bytes * before + decoding * model.cache_bytes(mean)
        read = seen(model, prompt, prompt**2 / 2 if pairs is None else pairs, spread=prompt)
        attention = model.attention_flop(read, seen(model, decoding, context, spread=0))
        outputs = decoding + (1 if prompt else 0)
        return work(model, self._reached, decoding + prompt, cached, attention, outputs).seconds

    @cached_property
    def _reached(self) -> Ceilings:
        return self.ceilings.reached(self.bandwidth_share, self.arithmetic_share)


def most_in_cache(model: Loaded, memory_bytes: float, tokens: float) -> int:
    """Return how many sequences of ``tokens`` fit into memory next to the weights; 0 if even these do not."""
    room = memory_bytes - model.weights_bytes
    each = model.cache_bytes(tokens)
    return max(int(room // each), 0) if each else 0


def bound_words(model: Loaded, ceilings: Ceilings, prompt_tokens: float, context: float, batch: int) -> str:
    """Say what limits a step of ``batch`` sequences, and a prompt: memory, arithmetic or overhead."""
    step = decode(model, ceilings, context, batch).bound
    prompt = prefill(model, ceilings, round(prompt_tokens)).bound
    return step if step == prompt else f"{step} (prompts: {prompt})"
