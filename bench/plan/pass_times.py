"""Compute how long a pass of a server takes: as a run measured it, or estimated from a model's card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean
from typing import Protocol

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded, seen
from bench.plan.roofline import Ceilings, Pass, decode, prefill, work

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

    ``steps_s`` has (sequences, seconds of a step) for each measured number of sequences, in their order; the
    last one is the most that the server decodes at once. Between two of them a step lies on the straight line
    that joins them, and fewer sequences than the first one take its time. A pass that reads prompts takes
    ``prompt_fixed_s`` and ``prompt_token_s`` for each token of them on top.
    """

    prompt_token_s: float
    steps_s: tuple[tuple[int, float], ...]
    chunk: int | None = None
    prompt_fixed_s: float = 0.0

    @property
    def most(self) -> int:
        """Return how many sequences are decoded at once: as many as were measured."""
        return self.steps_s[-1][0]

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a pass. The context has no effect: it is assumed as long as in the run."""
        step_s = self._every_s[decoding]
        return step_s + self.prompt_fixed_s + prompt * self.prompt_token_s if prompt else step_s

    @cached_property
    def _every_s(self) -> tuple[float, ...]:
        """The seconds of a step of 0, 1, 2, ... sequences."""
        (first, seconds), *_ = self.steps_s
        every = [0.0] + [seconds] * first
        for (few, few_s), (many, many_s) in pairwise(self.steps_s):
            each_s = (many_s - few_s) / (many - few)
            every += [few_s + each_s * more for more in range(1, many - few + 1)]
        return tuple(every)


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
    """Return the passes of a server whose step took ``points`` of (batch size, seconds).

    Nothing is fitted: a step of a measured size takes the mean of what was measured. Raises UsageError
    without points, and for times that are not above 0.
    """
    if not points or any(size < 1 or step_s <= 0 for size, step_s in points):
        raise UsageError("a server needs the time of a step, above 0, for at least one batch size")
    sizes = sorted({size for size, _ in points})
    means = (fmean(step_s for size, step_s in points if size == each) for each in sizes)
    return MeasuredSteps(prompt_token_s, tuple(zip(sizes, means, strict=True)))


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
        one = Pass(
            tokens=decoding + prompt,
            outputs=decoding + (1 if prompt else 0),
            cached_bytes=cached,
            prompt_flop=model.attention_flop(read, 0),
            prompt_tokens=before + prompt,
            step_flop=model.attention_flop(0, seen(model, decoding, context, spread=0)),
            context=mean,
        )
        return work(model, self._reached, one).seconds

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
