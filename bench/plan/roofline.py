"""How long a pass through a model must take: the time to read its weights and its cache, or to multiply them.

Source: the roofline model (Williams, Waterman and Patterson 2009), with the counts of a transformer: 2 FLOP
for each parameter and token, and 4 FLOP for each head, dimension and pair of positions in attention (Kaplan
et al. 2020, table 1). A model is known by its card alone, a machine by its measured ceilings.

On a CPU the two ceilings alone make prompts too cheap. Where products were measured by their rows, a pass is
the sum of its parts (``FORMULA_SUM``): a loop of an engine does them one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import UsageError
from bench.models.architecture import CACHE_BYTES, Architecture
from bench.plan.products import Products

FORMULA_PASS = "max(bytes / bandwidth, FLOP / rate) + layers * time a layer"
FORMULA_SUM = (
    "weights * time a weight at their rows + cache / bandwidth + 2 * cache / copying rate "
    "+ FLOP of attention / rate + bytes of elementwise passes / copying rate + layers * time a layer"
)
FORMULA_BYTES = "weights that the tokens use + cached keys and values of all sequences"
FORMULA_FLOP = "2 * active parameters * tokens + 2 * layers * heads * (key + value size) * pairs of positions"
FORMULA_ELEMENTWISE = (
    "(22 + 10 * chosen experts) * hidden size + 5 * active MLP width + 12 * (query and key values), "
    "a token and layer"
)
# Values that are read or written besides products, as transformers does a Llama's layer one operation after
# the other: two norms (8 each) and two residual additions (3 each) of the hidden size, the activation (2) and
# the product (3) of the MLP, and the rotation of queries and keys (two products, a sum, halves put together).
# For an expert a token is put in its order, masked, weighted, put back and added (2 each).
HIDDEN_PASSES, MLP_PASSES, ROTARY_PASSES, EXPERT_PASSES = 22, 5, 12, 10
CACHE_COPIES = 2  # its cache is a new tensor after each pass: the old one is read, the new one written
FORMULA_EXPERTS = "1 - (1 - k / E)^tokens of the experts' weights, if each token chooses k of E at random"


@dataclass(frozen=True)
class Ceilings:
    """What a machine reaches at best: bytes read a second, FLOP a second in the dtype of the model, and the
    time that each layer costs besides (launches, or Python).

    ``products`` are times of products by their rows, and ``copy_bytes_per_s`` what elementwise operations
    move; None and 0 where they are not known, as for a data sheet.
    """

    bytes_per_s: float
    flop_per_s: float
    layer_s: float = 0.0
    products: Products | None = None
    copy_bytes_per_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.bytes_per_s > 0 or not self.flop_per_s > 0 or not self.layer_s >= 0:
            raise UsageError("bandwidth and arithmetic rate must be above 0, and the time a layer at least 0")
        if self.products is not None and not self.copy_bytes_per_s > 0:
            raise UsageError("products by their rows need the rate of copying memory, above 0")

    def shared(self, devices: int) -> Ceilings:
        """Return the ceilings of several devices that hold a model together, without what it costs them to
        talk to each other."""
        return Ceilings(self.bytes_per_s * devices, self.flop_per_s * devices, self.layer_s)

    def reached(self, bandwidth_share: float, arithmetic_share: float) -> Ceilings:
        """Return the rates that an engine reaches, if it reaches these shares of the ceilings."""
        return replace(
            self,
            bytes_per_s=self.bytes_per_s * bandwidth_share,
            flop_per_s=self.flop_per_s * arithmetic_share,
        )


@dataclass(frozen=True)
class Work:
    """What one pass moves and computes, how long that takes at best, and the limit that binds."""

    read_bytes: float
    flop: float
    seconds: float
    bound: Literal["memory", "arithmetic", "overhead"]


@dataclass(frozen=True)
class Loaded:
    """A model as it would be loaded: its facts, the bits of a weight, and the bytes of a cached value.

    ``expanded`` is of models with latent attention only: transformers caches keys and values of every head,
    serving engines the latent vector, with which they multiply every query (DeepSeek-V2 report, 2.1.2).
    """

    facts: Architecture
    bits: float
    cache_item_bytes: int = 2
    expanded: bool = False

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

    @property
    def windowed(self) -> float:
        """Return the share of the layers that look at a window of the context only."""
        window = self.facts.sliding_window
        if not window:
            return 0.0
        in_windows = self.facts.kv_window_bytes / window
        return in_windows / (in_windows + self.facts.token_bytes)

    @property
    def latent(self) -> bool:
        """Return whether a step multiplies queries with latent vectors, and not with keys."""
        return self.facts.value_head_dim is not None and not self.expanded

    @property
    def token_bytes(self) -> float:
        """Return the bytes that one more token adds to the cache once all windows are full."""
        facts = self.facts
        if self.expanded and facts.value_head_dim:
            each = facts.kv_heads * (facts.head_dim + facts.value_head_dim)
            return float(facts.layers * each * self.cache_item_bytes)
        return facts.token_bytes * self.cache_item_bytes / CACHE_BYTES

    def cache_bytes(self, tokens: float) -> float:
        """Return the bytes that one sequence of ``tokens`` holds in the cache."""
        windows = self.facts.kv_window_bytes * self.cache_item_bytes / CACHE_BYTES
        return self.token_bytes * tokens + windows * min(tokens / (self.facts.sliding_window or 1), 1.0)

    def used(self, tokens: int) -> float:
        """Return the share of the experts that ``tokens`` choose (``FORMULA_EXPERTS``)."""
        if not self.routed or not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        return 1 - (1 - self.facts.experts_per_token / self.facts.experts) ** tokens

    def read_bytes(self, tokens: int) -> float:
        """Return the bytes of weights that a pass over ``tokens`` reads."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        dense = self.facts.parameters - self.routed - lookup
        return (dense + self.routed * self.used(tokens)) * self.bits / 8

    def flop(self, tokens: int, outputs: int) -> float:
        """Return the FLOP of ``tokens`` without attention, with logits for ``outputs`` of them."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        body = self.facts.active - self.head - lookup
        return 2.0 * body * tokens + 2.0 * self.head * outputs

    def attention_flop(self, prompt_pairs: float, step_pairs: float) -> float:
        """Return the FLOP of scores and weighted values, all heads and layers, for pairs of a token and a
        position at which it looks: in prompts, and in steps."""
        facts = self.facts
        sizes = facts.head_dim + (facts.value_head_dim or facts.head_dim)
        in_steps = 2 * facts.token_bytes / CACHE_BYTES / facts.layers if self.latent else sizes
        return 2.0 * facts.layers * facts.attention_heads * (sizes * prompt_pairs + in_steps * step_pairs)

    def matrices(self, tokens: int, outputs: int) -> Iterator[tuple[float, float, float]]:
        """Yield (weights, their width, the rows that each is multiplied with) of a pass: the layers, the
        output layer, and the experts that are used."""
        facts = self.facts
        lookup = 0 if facts.tied_embeddings else self.embedding
        inner = facts.attention_heads * facts.head_dim if self.routed else facts.intermediate_size
        width = math.sqrt(facts.hidden_size * inner)
        yield facts.parameters - self.routed - self.head - lookup, width, tokens
        yield self.head, math.sqrt(self.head), outputs
        if used := self.used(tokens):
            assert facts.experts
            assert facts.experts_per_token
            each = self.routed / facts.layers / facts.experts / 3  # gate, up and down
            rows = tokens * facts.experts_per_token / (facts.experts * used)
            yield self.routed * used, math.sqrt(each), rows

    def elementwise_bytes(self, tokens: float) -> float:
        """Return the bytes that norms, activations, rotations and additions read and write
        (``FORMULA_ELEMENTWISE``), in the dtype of the weights."""
        facts = self.facts
        inner, passes = float(facts.intermediate_size), HIDDEN_PASSES
        if self.routed and facts.experts and facts.experts_per_token:
            each = self.routed / facts.layers / facts.experts / 3 / facts.hidden_size
            inner = each * facts.experts_per_token
            passes += EXPERT_PASSES * facts.experts_per_token
        heads = (facts.attention_heads + facts.kv_heads) * facts.head_dim
        values = passes * facts.hidden_size + MLP_PASSES * inner + ROTARY_PASSES * heads
        return facts.layers * values * tokens * self.bits / 8


def seen(model: Loaded, tokens: float, pairs: float, *, spread: float) -> float:
    """Return how many of ``pairs`` are looked at: layers with a window leave out what is further back.

    The positions before the ``tokens`` are taken as uniform in an interval of ``spread`` around their mean.
    """
    if not model.windowed or not tokens:
        return pairs
    assert model.facts.sliding_window
    window, mean = float(model.facts.sliding_window), pairs / tokens
    low, high = max(mean - spread / 2, 0.0), mean + spread / 2
    if high <= window:
        near = mean
    elif low >= window or high == low:
        near = window
    else:
        near = ((window**2 - low**2) / 2 + (high - window) * window) / (high - low)
    return pairs * (1 - model.windowed) + tokens * near * model.windowed


def prefill(model: Loaded, ceilings: Ceilings, tokens: int, batch: int = 1) -> Work:
    """Return one pass over ``batch`` prompts of ``tokens`` each; logits only for the last of each."""
    every = batch * tokens
    pairs = seen(model, every, every * tokens / 2, spread=tokens)
    attention = model.attention_flop(pairs, 0)
    return work(model, ceilings, every, batch * model.cache_bytes(tokens), attention, batch)


def decode(model: Loaded, ceilings: Ceilings, context: float, batch: int = 1) -> Work:
    """Return one step of ``batch`` sequences that have ``context`` tokens each."""
    pairs = seen(model, batch, batch * context, spread=0)
    attention = model.attention_flop(0, pairs)
    return work(model, ceilings, batch, batch * model.cache_bytes(context), attention, batch)


def work(
    model: Loaded, ceilings: Ceilings, tokens: int, cached_bytes: float, attention_flop: float, outputs: int
) -> Work:
    """Return a pass over ``tokens`` that reads ``cached_bytes`` of the cache, does ``attention_flop``, and
    gives logits for ``outputs`` of the tokens."""
    read_bytes, flop = model.read_bytes(tokens) + cached_bytes, model.flop(tokens, outputs) + attention_flop
    read_s, multiply_s = read_bytes / ceilings.bytes_per_s, flop / ceilings.flop_per_s
    layers_s = model.facts.layers * ceilings.layer_s
    bound: Literal["memory", "arithmetic", "overhead"] = "memory" if read_s >= multiply_s else "arithmetic"
    spent_s = max(read_s, multiply_s)
    if ceilings.products is not None:
        products = ceilings.products
        spent_s = (
            sum(
                count * products.weight_s(width, rows)
                for count, width, rows in model.matrices(tokens, outputs)
            )
            + cached_bytes * (1 / ceilings.bytes_per_s + CACHE_COPIES / ceilings.copy_bytes_per_s)
            + attention_flop / ceilings.flop_per_s
            + model.elementwise_bytes(tokens - 1) / ceilings.copy_bytes_per_s  # one token's are in layer_s
        )
    if layers_s > spent_s:
        bound = "overhead"
    return Work(read_bytes, flop, spent_s + layers_s, bound)
