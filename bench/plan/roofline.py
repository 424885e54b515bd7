"""Compute the least time of a pass through a model, from what it reads and what it multiplies.

The source is the roofline model (Williams, Waterman and Patterson 2009), with the operation counts of a
transformer (see ``bytes_and_flop.py``). A model is described by its card alone, a machine by its ceilings.

On a CPU the two ceilings alone underestimate the time of prompts. If products were measured by their rows,
the time of a pass is the sum of its parts (``FORMULA_SUM``), because an engine does them one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded, seen
from bench.plan.products import Products

FORMULA_PASS = "max(bytes / bandwidth, FLOP / rate) + layers * time a layer"
FORMULA_SUM = (
    "weights * time a weight at their rows + cache / bandwidth + 2 * cache / copying rate "
    "+ FLOP of attention / rate + bytes of elementwise passes / copying rate + layers * time a layer"
)
CACHE_COPIES = 2  # the engine makes a new cache tensor in each pass: it reads the old and writes the new one


@dataclass(frozen=True)
class Ceilings:
    """The best rates that a machine reaches.

    They are the bytes read per second, the FLOP per second in the dtype of the model, and ``layer_s``, the
    seconds of overhead per layer (kernel launches or Python). ``products`` has the times of products by their
    rows, and ``copy_bytes_per_s`` the rate of elementwise operations; they are None and 0 if they are not
    known, as for a data sheet. Raises UsageError for rates that are not above 0.
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
        """Return the ceilings of several devices that share a model; their communication costs nothing."""
        return Ceilings(self.bytes_per_s * devices, self.flop_per_s * devices, self.layer_s)

    def reached(self, bandwidth_share: float, arithmetic_share: float) -> Ceilings:
        """Return the ceilings of an engine that reaches only these shares of them."""
        return replace(
            self,
            bytes_per_s=self.bytes_per_s * bandwidth_share,
            flop_per_s=self.flop_per_s * arithmetic_share,
        )


@dataclass(frozen=True)
class Work:
    """What one pass reads and computes, how many seconds that takes at best, and what limits it."""

    read_bytes: float
    flop: float
    seconds: float
    bound: Literal["memory", "arithmetic", "overhead"]


def prefill(model: Loaded, ceilings: Ceilings, tokens: int, batch: int = 1) -> Work:
    """Return a pass over ``batch`` prompts of ``tokens`` each; only the last token of each gets logits."""
    all_tokens = batch * tokens
    pairs = seen(model, all_tokens, all_tokens * tokens / 2, spread=tokens)
    attention = model.attention_flop(pairs, 0)
    return work(model, ceilings, all_tokens, batch * model.cache_bytes(tokens), attention, batch)


def decode(model: Loaded, ceilings: Ceilings, context: float, batch: int = 1) -> Work:
    """Return a decoding step of ``batch`` sequences that have ``context`` tokens each."""
    pairs = seen(model, batch, batch * context, spread=0)
    attention = model.attention_flop(0, pairs)
    return work(model, ceilings, batch, batch * model.cache_bytes(context), attention, batch)


def work(
    model: Loaded, ceilings: Ceilings, tokens: int, cached_bytes: float, attention_flop: float, outputs: int
) -> Work:
    """Return a pass over ``tokens`` with logits for ``outputs`` of them.

    The pass reads ``cached_bytes`` from the cache, and its attention needs ``attention_flop``.
    """
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
