"""Hold the measured times of the parts of a pass on a CPU, from which `bench.plan.roofline` adds them up.

Attention reaches another rate than the products of weights: it works on small matrices, one for each head,
and a step has only one row. The tokens of experts are sorted, masked and added by operations that are much
slower than copying memory. What a layer costs beside its operations (Python, launches) depends on its kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded
from bench.plan.products import Products, between


@dataclass(frozen=True)
class Attention:
    """The FLOP per second of attention, measured for every number in ``tokens``.

    ``prompt`` is for prompts of so many tokens, ``step`` for one token after so many. ``latent_prompt`` and
    ``latent_step`` are the same for keys that are longer than values, as in models with latent attention: an
    engine may have no fast kernel for them. FLOP are counted as in ``Loaded.attention_flop``. Raises
    UsageError unless the tokens rise and all rates are above 0.
    """

    tokens: tuple[int, ...]
    prompt: tuple[float, ...]
    step: tuple[float, ...]
    latent_prompt: tuple[float, ...]
    latent_step: tuple[float, ...]

    def __post_init__(self) -> None:
        rates = (self.prompt, self.step, self.latent_prompt, self.latent_step)
        rising = bool(self.tokens) and list(self.tokens) == sorted(set(self.tokens)) and self.tokens[0] > 0
        whole = all(len(line) == len(self.tokens) for line in rates)
        if not rising or not whole or any(not 0 < rate < math.inf for line in rates for rate in line):
            raise UsageError("attention needs a rate above 0 for every number of tokens")

    def prompt_s(self, model: Loaded, flop: float, tokens: float) -> float:
        """Return the seconds of the attention of prompts of ``tokens`` each."""
        rates = self.prompt if model.facts.value_head_dim is None else self.latent_prompt
        return flop / between(self.tokens, rates, tokens) if flop else 0.0

    def step_s(self, model: Loaded, flop: float, context: float) -> float:
        """Return the seconds of the attention of steps after ``context`` tokens."""
        rates = self.step if model.facts.value_head_dim is None else self.latent_step
        return flop / between(self.tokens, rates, context) if flop else 0.0


@dataclass(frozen=True)
class Overhead:
    """The seconds that a layer takes beside its products, attention and copies of the cache, for one token.

    There is one for dense layers, one for layers with experts, and one for layers with experts and latent
    attention.
    """

    dense: float = 0.0
    experts: float = 0.0
    latent: float = 0.0


@dataclass(frozen=True)
class Parts:
    """The measured times of all parts of a pass.

    ``products`` are those of square matrices, ``heads`` those of output layers by their inputs.
    ``routed_value_s`` is the time of one value that is sorted by experts and added again (see
    ``Loaded.routed_values``). Raises UsageError for times or rates that are not above 0, and for an overhead
    below 0.
    """

    products: Products
    heads: Products
    attention: Attention
    copy_bytes_per_s: float
    routed_value_s: float
    overhead: Overhead = Overhead()

    def __post_init__(self) -> None:
        if not self.copy_bytes_per_s > 0 or not 0 < self.routed_value_s < math.inf:
            raise UsageError("the parts of a pass need a rate of copying and a time a routed value above 0")
        if not min(self.overhead.dense, self.overhead.experts, self.overhead.latent) >= 0:
            raise UsageError("the overhead of a layer must be at least 0")

    def layer_s(self, model: Loaded) -> float:
        """Return the overhead of a layer of this model. Experts and latent attention add theirs."""
        of_experts = self.overhead.experts - self.overhead.dense if model.routed else 0.0
        latent = self.overhead.latent - self.overhead.experts if model.facts.value_head_dim else 0.0
        return max(self.overhead.dense + of_experts + latent, 0.0)
