"""Count what a pass reads of a loaded model, what it multiplies, and how large the cache is.

The counts are those of a transformer: 2 FLOP per parameter and token, and in attention 4 FLOP per head,
dimension and pair of positions (Kaplan et al. 2020, table 1). The model is described by its card alone.
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
# Values read or written outside matrix products, as transformers runs a Llama layer, one operation after the
# other: two norms (8 each) and two residual additions (3 each) of the hidden size, the activation (2) and the
# product (3) of the MLP, and the rotation of queries and keys (two products, a sum, joining the halves).
# For each expert a token is sorted, masked, weighted, scattered back and added (2 each).
HIDDEN_PASSES, MLP_PASSES, ROTARY_PASSES, EXPERT_PASSES = 22, 5, 12, 10
FORMULA_EXPERTS = "1 - (1 - k / E)^tokens of the experts' weights, if each token chooses k of E at random"


@dataclass(frozen=True)
class Loaded:
    """A model as it would be loaded: its facts, the bits of a weight, and the bytes of a cached value.

    ``expanded`` matters only for models with latent attention (DeepSeek-V2 report, 2.1.2). If true, the keys
    and values of every head are cached, as transformers does. If false, the latent vector is cached, as
    serving engines do, and every query is multiplied with it.
    """

    facts: Architecture
    bits: float
    cache_item_bytes: int = 2
    expanded: bool = False

    @property
    def weights_bytes(self) -> float:
        """Return the size of all weights in bytes."""
        return self.facts.parameters * self.bits / 8

    @property
    def embedding(self) -> int:
        """Return the number of parameters of the input embeddings. A token reads one row of this table."""
        return self.facts.vocabulary * self.facts.hidden_size

    @property
    def head(self) -> int:
        """Return the number of parameters of the output layer, which has the shape of the embeddings."""
        return self.embedding

    @property
    def routed(self) -> float:
        """Return the number of parameters of all routed experts; 0 for a dense model."""
        if not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        unused = 1 - self.facts.experts_per_token / self.facts.experts
        return (self.facts.parameters - self.facts.active) / unused if unused else 0.0

    @property
    def windowed(self) -> float:
        """Return the share of the layers that attend only to a sliding window of the context."""
        window = self.facts.sliding_window
        if not window:
            return 0.0
        in_windows = self.facts.kv_window_bytes / window
        return in_windows / (in_windows + self.facts.token_bytes)

    @property
    def latent(self) -> bool:
        """Return whether a step multiplies queries with latent vectors instead of keys."""
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
        """Return the bytes that one sequence of ``tokens`` occupies in the cache."""
        windows = self.facts.kv_window_bytes * self.cache_item_bytes / CACHE_BYTES
        return self.token_bytes * tokens + windows * min(tokens / (self.facts.sliding_window or 1), 1.0)

    def used(self, tokens: int) -> float:
        """Return the expected share of the experts that ``tokens`` choose (``FORMULA_EXPERTS``)."""
        if not self.routed or not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        return 1 - (1 - self.facts.experts_per_token / self.facts.experts) ** tokens

    def read_bytes(self, tokens: int) -> float:
        """Return how many bytes of weights a pass over ``tokens`` reads."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        dense = self.facts.parameters - self.routed - lookup
        return (dense + self.routed * self.used(tokens)) * self.bits / 8

    def flop(self, tokens: int, outputs: int) -> float:
        """Return the FLOP of a pass over ``tokens`` without attention; ``outputs`` of them get logits."""
        lookup = 0 if self.facts.tied_embeddings else self.embedding
        body = self.facts.active - self.head - lookup
        return 2.0 * body * tokens + 2.0 * self.head * outputs

    def attention_flop(self, prompt_pairs: float, step_pairs: float) -> float:
        """Return the FLOP of attention scores and weighted values, over all heads and layers.

        A pair is a token and a position that it attends to: ``prompt_pairs`` while prompts are read,
        ``step_pairs`` while tokens are decoded.
        """
        facts = self.facts
        sizes = facts.head_dim + (facts.value_head_dim or facts.head_dim)
        in_steps = 2 * facts.token_bytes / CACHE_BYTES / facts.layers if self.latent else sizes
        return 2.0 * facts.layers * facts.attention_heads * (sizes * prompt_pairs + in_steps * step_pairs)

    def matrices(self, tokens: int, outputs: int) -> Iterator[tuple[float, float, float]]:
        """Yield (number of weights, width, rows that are multiplied with them) of each part of a pass.

        The parts are the layers without experts, the output layer, and the experts that are used. The width
        of a matrix is the square root of its number of weights, as in `Products`.
        """
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
        """Return the bytes that elementwise operations read and write, in the dtype of the weights.

        They are norms, activations, rotations and additions (``FORMULA_ELEMENTWISE``).
        """
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
    """Return how many of ``pairs`` attention really computes, as a mean over all layers.

    Layers with a sliding window skip positions that are further back. The number of positions before each of
    the ``tokens`` is assumed to be uniform in an interval of width ``spread`` around the mean.
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
