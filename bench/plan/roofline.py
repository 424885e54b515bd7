"""How long a pass through a model must take: the time to read its weights and its cache, or to multiply them.

Source: the roofline model (Williams, Waterman and Patterson 2009), with the counts of a transformer: 2 FLOP
for each parameter and token, and 4 FLOP for each head, dimension and pair of positions in attention (Kaplan
et al. 2020, table 1). A model is known by its card alone, a machine by its measured ceilings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.models.architecture import Architecture

FORMULA_PASS = "max(bytes / bandwidth, FLOP / rate) + layers * time a layer"
FORMULA_BYTES = "weights that the tokens use + cached keys and values of all sequences"
FORMULA_FLOP = "2 * active parameters * tokens + 4 * layers * heads * head size * pairs of positions"
FORMULA_EXPERTS = "1 - (1 - k / E)^tokens of the experts' weights, if each token chooses k of E at random"


@dataclass(frozen=True)
class Ceilings:
    """What a machine reaches at best: bytes read a second, FLOP a second in the dtype of the model, and the
    time that each layer costs besides (launches, or Python)."""

    bytes_per_s: float
    flop_per_s: float
    layer_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.bytes_per_s > 0 or not self.flop_per_s > 0 or not self.layer_s >= 0:
            raise UsageError("bandwidth and arithmetic rate must be above 0, and the time a layer at least 0")

    def shared(self, devices: int) -> Ceilings:
        """Return the ceilings of several devices that hold a model together, without what it costs them to
        talk to each other."""
        return Ceilings(self.bytes_per_s * devices, self.flop_per_s * devices, self.layer_s)


@dataclass(frozen=True)
class Work:
    """What one pass moves and computes, how long that takes at best, and the limit that binds."""

    read_bytes: float
    flop: float
    seconds: float
    bound: Literal["memory", "arithmetic", "overhead"]


@dataclass(frozen=True)
class Loaded:
    """A model as it would be loaded: its facts, the bits of a weight, and the bytes of a cached value."""

    facts: Architecture
    bits: float
    cache_item_bytes: int = 2

    @property
    def weights_bytes(self) -> float:
        """Return the size of all weights."""
        return self.facts.parameters * self.bits / 8

    @property
    def embedding(self) -> int:
        """Return the parameters of the table of input embeddings, of which a token reads one row."""
        return self.facts.vocabulary * self.facts.hidden_size

    @property
    def head(self) -> int:
        """Return the parameters of the output layer, which is the same table if the embeddings are tied."""
        return self.embedding

    @property
    def routed(self) -> float:
        """Return the parameters of all experts among which a token chooses; 0 for a dense model."""
        if not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        unused = 1 - self.facts.experts_per_token / self.facts.experts
        return (self.facts.parameters - self.facts.active) / unused if unused else 0.0

    def cache_bytes(self, tokens: float) -> float:
        """Return the bytes that one sequence of ``tokens`` holds in the cache."""
        return float(self.facts.cache_bytes(round(tokens), self.cache_item_bytes))

    def read_bytes(self, tokens: int) -> float:
        """Return the bytes of weights that a pass over ``tokens`` reads (``FORMULA_EXPERTS`` for experts)."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        dense = self.facts.parameters - self.routed - lookup
        used = 0.0
        if self.routed and self.facts.experts and self.facts.experts_per_token:
            used = 1 - (1 - self.facts.experts_per_token / self.facts.experts) ** tokens
        return (dense + self.routed * used) * self.bits / 8

    def flop(self, tokens: int, pairs: float, outputs: int) -> float:
        """Return the FLOP of a pass over ``tokens`` that attend to ``pairs`` of positions, with logits for
        ``outputs`` of them."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        body = self.facts.active - self.head - lookup
        attention = 4 * self.facts.layers * self.facts.attention_heads * self.facts.head_dim * pairs
        return 2.0 * body * tokens + 2.0 * self.head * outputs + attention


def prefill(model: Loaded, ceilings: Ceilings, tokens: int, batch: int = 1) -> Work:
    """Return one pass over ``batch`` prompts of ``tokens`` each; logits only for the last of each."""
    read = model.read_bytes(batch * tokens) + batch * model.cache_bytes(tokens)
    return _work(model, ceilings, read, model.flop(batch * tokens, batch * tokens**2 / 2, batch))


def decode(model: Loaded, ceilings: Ceilings, context: float, batch: int = 1) -> Work:
    """Return one step of ``batch`` sequences that have ``context`` tokens each."""
    read = model.read_bytes(batch) + batch * model.cache_bytes(context)
    return _work(model, ceilings, read, model.flop(batch, batch * context, batch))


def _work(model: Loaded, ceilings: Ceilings, read_bytes: float, flop: float) -> Work:
    read_s, multiply_s = read_bytes / ceilings.bytes_per_s, flop / ceilings.flop_per_s
    layers_s = model.facts.layers * ceilings.layer_s
    bound: Literal["memory", "arithmetic", "overhead"] = "memory" if read_s >= multiply_s else "arithmetic"
    if layers_s > max(read_s, multiply_s):
        bound = "overhead"
    return Work(read_bytes, flop, max(read_s, multiply_s) + layers_s, bound)
