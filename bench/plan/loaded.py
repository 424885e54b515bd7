"""A model as it would be loaded: what a pass reads of it, what it multiplies, and what its cache holds.

The counts are those of a transformer: 2 FLOP for each parameter and token, and 4 FLOP for each head,
dimension and pair of positions in attention (Kaplan et al. 2020, table 1). A model is known by its card.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bench.models.architecture import CACHE_BYTES, Architecture

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
FORMULA_EXPERTS = "1 - (1 - k / E)^tokens of the experts' weights, if each token chooses k of E at random"


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
