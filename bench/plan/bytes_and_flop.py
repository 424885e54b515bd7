"""Count what a pass reads of a loaded model, what it multiplies, and how large the cache is.

The counts are those of a transformer: 2 FLOP per parameter and token, and in attention 4 FLOP per head,
dimension and pair of positions (Kaplan et al. 2020, table 1). The model is described by its card alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bench.models.architecture import CACHE_BYTES, Architecture

FORMULA_BYTES = "weights that the tokens use + cached keys and values of all sequences"
FORMULA_FLOP = "2 * active parameters * tokens + 2 * layers * heads * (key + value size) * pairs of positions"
FORMULA_ELEMENTWISE = (
    "22 * hidden size + 5 * active MLP width + 12 * (query and key values), a token and layer"
)
FORMULA_ROUTED = "chosen experts * (hidden size + expert width / 2), a token and layer"
# Values read or written outside matrix products, as transformers runs a Llama layer, one operation after the
# other: two norms (8 each) and two residual additions (3 each) of the hidden size, the activation (2) and the
# product (3) of the MLP, and the rotation of queries and keys (two products, a sum, joining the halves).
HIDDEN_PASSES, MLP_PASSES, ROTARY_PASSES = 22, 5, 12
MLP_MATRICES = 3  # gate, up and down, in a dense MLP and in an expert
LATENT_MATRICES = 9  # of a layer: five of latent attention, three of a dense MLP or shared expert, a router
OTHER_MATRICES = 7  # of a layer whose attention has another shape than heads of keys and values
NORMS_SHARE = 0.02  # of the square of the hidden size: fewer weights a layer are norms, and no matrices
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

    @cached_property
    def weights_bytes(self) -> float:
        """Return the size of all weights in bytes."""
        return self.facts.parameters * self.bits / 8

    @cached_property
    def embedding(self) -> int:
        """Return the number of parameters of the input embeddings. A token reads one row of this table."""
        return self.facts.vocabulary * self.facts.hidden_size

    @cached_property
    def head(self) -> int:
        """Return the number of parameters of the output layer, which has the shape of the embeddings."""
        return self.embedding

    @cached_property
    def routed(self) -> float:
        """Return the number of parameters of all routed experts; 0 for a dense model."""
        if not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        unused = 1 - self.facts.experts_per_token / self.facts.experts
        return (self.facts.parameters - self.facts.active) / unused if unused else 0.0

    @cached_property
    def windowed(self) -> float:
        """Return the share of the layers that attend only to a sliding window of the context."""
        window = self.facts.sliding_window
        if not window:
            return 0.0
        in_windows = self.facts.kv_window_bytes / window
        return in_windows / (in_windows + self.facts.token_bytes)

    @cached_property
    def latent(self) -> bool:
        """Return whether a step multiplies queries with latent vectors instead of keys."""
        return self.facts.value_head_dim is not None and not self.expanded

    @cached_property
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

    # ---- what a simulation of a hundred thousand passes asks for each time -------------------------

    @cached_property
    def _looked_up(self) -> int:
        """Return the parameters that are only looked up: the embeddings, unless the head shares them."""
        return 0 if self.facts.tied_embeddings else self.embedding

    @cached_property
    def _dense(self) -> float:
        """Return the parameters that every pass reads: all but the routed experts and those looked up."""
        return self.facts.parameters - self.routed - self._looked_up

    @cached_property
    def _body(self) -> float:
        """Return the parameters that every token is multiplied with, without those of the head."""
        return self.facts.active - self.head - self._looked_up

    @cached_property
    def _sizes_of_a_pair(self) -> tuple[float, float]:
        """Return the values of a head that a pair multiplies, (while prompts are read, while decoding)."""
        facts = self.facts
        sizes = facts.head_dim + (facts.value_head_dim or facts.head_dim)
        return sizes, 2 * facts.token_bytes / CACHE_BYTES / facts.layers if self.latent else sizes

    def used(self, tokens: int) -> float:
        """Return the expected share of the experts that ``tokens`` choose (``FORMULA_EXPERTS``)."""
        if not self.routed or not self.facts.experts or not self.facts.experts_per_token:
            return 0.0
        return 1 - (1 - self.facts.experts_per_token / self.facts.experts) ** tokens

    def read_bytes(self, tokens: int) -> float:
        """Return how many bytes of weights a pass over ``tokens`` reads."""
        return (self._dense + self.routed * self.used(tokens)) * self.bits / 8

    def flop(self, tokens: int, outputs: int) -> float:
        """Return the FLOP of a pass over ``tokens`` without attention; ``outputs`` of them get logits."""
        return 2.0 * self._body * tokens + 2.0 * self.head * outputs

    def attention_flop(self, prompt_pairs: float, step_pairs: float) -> float:
        """Return the FLOP of attention scores and weighted values, over all heads and layers.

        A pair is a token and a position that it attends to: ``prompt_pairs`` while prompts are read,
        ``step_pairs`` while tokens are decoded.
        """
        in_prompts, in_steps = self._sizes_of_a_pair
        heads = self.facts.layers * self.facts.attention_heads
        return 2.0 * heads * (in_prompts * prompt_pairs + in_steps * step_pairs)

    def matrices(self, tokens: int) -> Iterator[tuple[float, float, float]]:
        """Yield (number of weights, width, rows that are multiplied with them) of each part of the layers.

        The parts are the matrices without experts, and the experts that are used. The width of a matrix is
        the square root of its number of weights, as in `Products`.
        """
        facts = self.facts
        for weights, width in self._of_layers():
            yield weights, width, tokens
        if used := self.used(tokens):
            assert facts.experts
            assert facts.experts_per_token
            each = self.routed / facts.layers / facts.experts / MLP_MATRICES
            rows = tokens * facts.experts_per_token / (facts.experts * used)
            yield self.routed * used * 2 / 3, math.sqrt(2 * each), rows  # gate and up are one matrix
            yield self.routed * used / 3, math.sqrt(each), rows

    def _of_layers(self) -> Iterator[tuple[float, float]]:
        """Yield (number of weights, width) of the matrices of all layers, without the routed experts.

        A card has no sizes of single matrices. Those of plain attention and of a router follow from its
        counts; what is left is the dense MLP or the shared experts, as three matrices of one size.
        """
        facts = self.facts
        left = (facts.parameters - self.routed - self.head - self._looked_up) / facts.layers
        router = facts.hidden_size * facts.experts if self.routed and facts.experts else 0
        query = facts.hidden_size * facts.attention_heads * facts.head_dim
        key = facts.hidden_size * facts.kv_heads * facts.head_dim
        known = [(query, 2), (key, 2), *([(router, 1)] if router else [])]
        rest = left - sum(weights * times for weights, times in known)
        if facts.value_head_dim is not None or rest < 0:
            number = LATENT_MATRICES if facts.value_head_dim is not None else OTHER_MATRICES
            yield left * facts.layers, math.sqrt(left / number)
            return
        for weights, times in known:
            yield facts.layers * times * weights, math.sqrt(weights)
        if rest > NORMS_SHARE * facts.hidden_size**2:
            yield facts.layers * rest, math.sqrt(rest / MLP_MATRICES)

    @cached_property
    def _active_width(self) -> float:
        """Return the width of the MLP, or of all experts together that a token chooses."""
        facts = self.facts
        if self.routed and facts.experts and facts.experts_per_token:
            each = self.routed / facts.layers / facts.experts / MLP_MATRICES / facts.hidden_size
            return each * facts.experts_per_token
        return float(facts.intermediate_size)

    def elementwise_bytes(self, tokens: float) -> float:
        """Return the bytes that elementwise operations read and write, in the dtype of the weights.

        They are norms, activations, rotations and additions (``FORMULA_ELEMENTWISE``).
        """
        facts = self.facts
        heads = (facts.attention_heads + facts.kv_heads) * facts.head_dim
        values = HIDDEN_PASSES * facts.hidden_size + MLP_PASSES * self._active_width + ROTARY_PASSES * heads
        return facts.layers * values * tokens * self.bits / 8

    def routed_values(self, tokens: float) -> float:
        """Return how many values are sorted by experts, masked, weighted and added (``FORMULA_ROUTED``).

        The two products of an expert have masks of their own: the wider one counts half.
        """
        facts = self.facts
        if not self.routed or not facts.experts_per_token:
            return 0.0
        values = facts.experts_per_token * facts.hidden_size + self._active_width / 2
        return facts.layers * values * tokens


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
