"""Estimate the time and memory of one row from the roofline of its model and of its second models.

A model is described by the facts in its file (``models/*.yaml``). Optimised rows are estimated as if they
were not optimised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.config.spec import Arm
from bench.config.support import device_here
from bench.measure.designs import LEAST_BATCHES_ON_GPU
from bench.models.architecture import Architecture
from bench.plan.bytes_and_flop import Loaded
from bench.plan.roofline import Ceilings, Pass, work
from bench.records import Json

BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
START_S, READ_BYTES_PER_S = 4.0, 1e9  # time to import the engine; rate of reading weights from the disk
PROMPT_TOKENS = 50  # assumed for a chat prompt or a line of a file, which is not tokenised yet
UNTIMED_REQUESTS = 3  # one for memory, one for kernels, and the warm-up of a baseline alone
PROCESS_BYTES = 450_000_000  # memory of a worker with its engine, without weights


@dataclass(frozen=True)
class Load:
    """An arm with the facts of its model, the rates of the machine, and its second models."""

    arm: Arm
    facts: Architecture
    rates: Ceilings
    beside: tuple[Beside, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """Return the bytes of the weights of all models, in the dtype in which they are loaded."""
        own = self.facts.weights_bytes(8 * BYTES_OF[self.arm.runtime.dtype])
        return own + sum(second.load.weights_bytes for second in self.beside)

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of a prompt, from the config or as assumed."""
        return self.arm.workload.input_tokens or PROMPT_TOKENS

    @property
    def cache_bytes(self) -> int:
        """Return the bytes of the KV caches of a batch, for all models."""
        load = self.arm.workload
        tokens = self.prompt_tokens + load.output_tokens
        own = load.batch_size * self.facts.cache_bytes(tokens, BYTES_OF[self.arm.runtime.dtype])
        return own + sum(second.cache_bytes for second in self.beside)

    @property
    def serving_bytes(self) -> int:
        """Return the bytes of the process, its weights and its KV caches."""
        return PROCESS_BYTES + self.weights_bytes + self.cache_bytes

    def pass_s(self, tokens: int, outputs: int | None = None) -> float:
        """Return the seconds of one forward pass over ``tokens``, with logits for ``outputs`` of them or all.

        It is the roofline of `bench plan` without attention.
        """
        item_bytes = BYTES_OF[self.arm.runtime.dtype]
        loaded = Loaded(self.facts, 8 * item_bytes, item_bytes, expanded=True)
        return work(loaded, self.rates, Pass(tokens, tokens if outputs is None else outputs, 0.0)).seconds

    @property
    def batch_s(self) -> float:
        """Return the seconds of one batch of requests, including the second models."""
        load = self.arm.workload
        prompt_s = self.pass_s(load.batch_size * self.prompt_tokens, load.batch_size)
        if self.arm.runtime.task:  # an encoder needs only this pass
            return prompt_s
        own_s = prompt_s + (load.output_tokens - 1) * self.pass_s(load.batch_size)
        return own_s + sum(second.batch_s for second in self.beside)

    @property
    def round_s(self) -> float:
        """Return the seconds of the whole workload, decoded once."""
        return batches(self.arm) * self.batch_s

    @property
    def load_s(self) -> float:
        """Return the seconds to start the process and load the model."""
        return START_S + self.weights_bytes / READ_BYTES_PER_S

    @property
    def alone_s(self) -> float:
        """Return the seconds of everything that is done with the loaded model alone, without the baseline."""
        return self.round_s + UNTIMED_REQUESTS * self.batch_s

    def pair_s(self, base: Load, processes: int) -> float:
        """Return the seconds of one pair of new processes.

        Both sides load and warm up at the same time, and then decode their share of the workload in turns.
        """
        sides = (base, self)
        begun_s = max(side.load_s + side.arm.workload.warmup * side.batch_s for side in sides)
        each = -(-batches(self.arm) // processes)
        if device_here(self.arm.runtime.device) == "cuda":
            each = max(each, LEAST_BATCHES_ON_GPU)
        return begun_s + each * sum(side.batch_s for side in sides)


@dataclass(frozen=True)
class Beside:
    """A second model in the process of a row: the edge model of a cascade, or a draft model.

    A draft model drafts ``drafts`` tokens for each token of a reply; ``drafts`` is 0 for an edge model. An
    edge model may draw ``samples`` additional answers to each request, as one batch. ``asked`` has the
    questions that train the rule of its cascade, as (tokens of a reply, or 0 for choices; items).
    """

    load: Load
    drafts: int = 0
    samples: int = 0
    asked: tuple[tuple[int, Sequence[Json]], ...] = ()

    @property
    def cache_bytes(self) -> int:
        """Return the bytes of its KV cache, including the additional answers."""
        if not self.samples:
            return self.load.cache_bytes
        item_bytes = BYTES_OF[self.load.arm.runtime.dtype]
        tokens = self.load.prompt_tokens + self.load.arm.workload.output_tokens
        return self.load.cache_bytes + self.samples * self.load.facts.cache_bytes(tokens, item_bytes)

    def drawn_s(self, prompt_tokens: int, tokens: int) -> float:
        """Return the seconds to draw the additional answers to one request; 0 if there are none."""
        if not self.samples or not tokens:
            return 0.0
        prompt_s = self.load.pass_s(self.samples * prompt_tokens, self.samples)
        return prompt_s + (tokens - 1) * self.load.pass_s(self.samples)

    @property
    def batch_s(self) -> float:
        """Return the seconds that it adds to a batch if all requests are escalated, or all drafts wrong."""
        work = self.load.arm.workload
        if not self.drafts:
            drawn_s = self.drawn_s(self.load.prompt_tokens, work.output_tokens)
            return self.load.batch_s + work.batch_size * drawn_s
        return (work.output_tokens - 1) * self.drafts * self.load.pass_s(work.batch_size)


def batches(arm: Arm) -> int:
    """Return the number of batches in which the workload is decoded."""
    return -(-arm.workload.requests // arm.workload.batch_size)
