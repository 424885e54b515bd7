"""What a row may be expected to take: the roofline of its model, and of the second models beside it.

A model is described by the facts in its file (``models/*.yaml``). Optimised rows are counted as if nothing
had been done to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.config.spec import Arm
from bench.config.support import device_here
from bench.measure.designs import LEAST_BATCHES_ON_GPU
from bench.models.architecture import Architecture
from bench.plan.loaded import Loaded
from bench.plan.roofline import Ceilings, work
from bench.records import Json

BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
START_S, READ_BYTES_PER_S = 4.0, 1e9  # importing the engine; reading weights from the disk
PROMPT_TOKENS = 50  # assumed of a chat prompt or a line of a file, before a tokenizer reads it
UNTIMED_REQUESTS = 3  # for memory and for kernels, and the warm-up of a baseline alone
PROCESS_BYTES = 450_000_000  # a worker with its engine, before any weights


@dataclass(frozen=True)
class Load:
    """An arm with its model's facts, what it may expect of the machine, and the second models beside it."""

    arm: Arm
    facts: Architecture
    rates: Ceilings
    beside: tuple[Beside, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """Return the size of the parameters in the dtype in which they are loaded, of all models."""
        own = self.facts.weights_bytes(8 * BYTES_OF[self.arm.runtime.dtype])
        return own + sum(one.load.weights_bytes for one in self.beside)

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of a prompt, as the config says or as assumed."""
        return self.arm.workload.input_tokens or PROMPT_TOKENS

    @property
    def cache_bytes(self) -> int:
        """Return the size of the KV cache of a batch, of all models."""
        load = self.arm.workload
        tokens = self.prompt_tokens + load.output_tokens
        own = load.batch_size * self.facts.cache_bytes(tokens, BYTES_OF[self.arm.runtime.dtype])
        return own + sum(one.cache_bytes for one in self.beside)

    @property
    def serving_bytes(self) -> int:
        """Return the size of the process, the weights and the KV cache together."""
        return PROCESS_BYTES + self.weights_bytes + self.cache_bytes

    def pass_s(self, tokens: int, outputs: int | None = None) -> float:
        """Return the time of one forward pass over ``tokens``, with logits for ``outputs`` of them or for all
        (the roofline of `bench plan`, without attention)."""
        item_bytes = BYTES_OF[self.arm.runtime.dtype]
        loaded = Loaded(self.facts, 8 * item_bytes, item_bytes, expanded=True)
        return work(loaded, self.rates, tokens, 0.0, 0.0, tokens if outputs is None else outputs).seconds

    @property
    def batch_s(self) -> float:
        """Return the time of one batch of requests, with what the second models add to it."""
        load = self.arm.workload
        prompt_s = self.pass_s(load.batch_size * self.prompt_tokens, load.batch_size)
        if self.arm.runtime.task:  # an encoder: one pass, and nothing else
            return prompt_s
        own_s = prompt_s + (load.output_tokens - 1) * self.pass_s(load.batch_size)
        return own_s + sum(one.batch_s for one in self.beside)

    @property
    def round_s(self) -> float:
        """Return the time of the whole workload, decoded once."""
        return batches(self.arm) * self.batch_s

    @property
    def load_s(self) -> float:
        """Return the time to start the process and load the model."""
        return START_S + self.weights_bytes / READ_BYTES_PER_S

    @property
    def alone_s(self) -> float:
        """Return the time of everything that is done with a loaded model without the baseline."""
        return self.round_s + UNTIMED_REQUESTS * self.batch_s

    def pair_s(self, base: Load, processes: int) -> float:
        """Return the time of a fresh pair.

        Both sides load and warm up at the same time, then decode their share in turns.
        """
        sides = (base, self)
        begun_s = max(one.load_s + one.arm.workload.warmup * one.batch_s for one in sides)
        each = -(-batches(self.arm) // processes)
        if device_here(self.arm.runtime.device) == "cuda":
            each = max(each, LEAST_BATCHES_ON_GPU)
        return begun_s + each * sum(one.batch_s for one in sides)


@dataclass(frozen=True)
class Beside:
    """A second model in the process of a row: one that answers first, or one that drafts so many tokens for
    each token of a reply.

    One that answers first may draw ``samples`` further answers to each request, as one batch. ``asked`` are
    the questions that train the rule of its cascade: the tokens of a reply (0 for choices), and the items.
    """

    load: Load
    drafts: int = 0
    samples: int = 0
    asked: tuple[tuple[int, Sequence[Json]], ...] = ()

    @property
    def cache_bytes(self) -> int:
        """Return the size of its KV cache, that of drawn answers included."""
        if not self.samples:
            return self.load.cache_bytes
        item_bytes = BYTES_OF[self.load.arm.runtime.dtype]
        tokens = self.load.prompt_tokens + self.load.arm.workload.output_tokens
        return self.load.cache_bytes + self.samples * self.load.facts.cache_bytes(tokens, item_bytes)

    def drawn_s(self, prompt_tokens: int, tokens: int) -> float:
        """Return the time to draw the further answers to one request; 0 if there are none."""
        if not self.samples or not tokens:
            return 0.0
        prompt_s = self.load.pass_s(self.samples * prompt_tokens, self.samples)
        return prompt_s + (tokens - 1) * self.load.pass_s(self.samples)

    @property
    def batch_s(self) -> float:
        """Return what it adds to the time of a batch, as if each request went on and no draft was right."""
        work = self.load.arm.workload
        if not self.drafts:
            drawn_s = self.drawn_s(self.load.prompt_tokens, work.output_tokens)
            return self.load.batch_s + work.batch_size * drawn_s
        return (work.output_tokens - 1) * self.drafts * self.load.pass_s(work.batch_size)


def batches(arm: Arm) -> int:
    """Return in how many batches the workload is decoded."""
    return -(-arm.workload.requests // arm.workload.batch_size)
