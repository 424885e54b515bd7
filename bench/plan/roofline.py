"""How long a pass through a model must take: the time to read its weights and its cache, or to multiply them.

Source: the roofline model (Williams, Waterman and Patterson 2009), with the counts of a transformer: 2 FLOP
for each parameter and token, and 4 FLOP for each head, dimension and pair of positions in attention (Kaplan
et al. 2020, table 1). A model is known by its card alone, a machine by its measured ceilings.

On a CPU the two ceilings alone make prompts too cheap. Where products were measured by their rows, a pass is
the sum of its parts (``FORMULA_SUM``): a loop of an engine does them one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import UsageError
from bench.plan.loaded import Loaded, seen
from bench.plan.products import Products

FORMULA_PASS = "max(bytes / bandwidth, FLOP / rate) + layers * time a layer"
FORMULA_SUM = (
    "weights * time a weight at their rows + cache / bandwidth + 2 * cache / copying rate "
    "+ FLOP of attention / rate + bytes of elementwise passes / copying rate + layers * time a layer"
)
CACHE_COPIES = 2  # its cache is a new tensor after each pass: the old one is read, the new one written


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
