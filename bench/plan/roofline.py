"""Compute the least time of a pass through a model, from what it reads and what it multiplies.

The source is the roofline model (Williams, Waterman and Patterson 2009), with the operation counts of a
transformer (see ``bytes_and_flop.py``). A model is described by its card alone, a machine by its ceilings.

On a CPU the two ceilings alone underestimate the time of prompts. If the parts of a pass were measured, its
time is their sum (``FORMULA_SUM``), because an engine does them one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from bench.errors import UsageError
from bench.plan.bytes_and_flop import Loaded, seen
from bench.plan.parts import Parts

FORMULA_PASS = "max(bytes / bandwidth, FLOP / rate) + layers * time a layer"
FORMULA_SUM = (
    "weights * time a weight at their rows + cache / bandwidth + 2 * cache / copying rate "
    "+ FLOP of attention / its rate + bytes of elementwise passes / copying rate "
    "+ values sorted by experts * time a value + layers * time a layer"
)
CACHE_COPIES = 2  # the engine makes a new cache tensor in each pass: it reads the old and writes the new one


@dataclass(frozen=True)
class Ceilings:
    """The best rates that a machine reaches.

    They are the bytes read per second, the FLOP per second in the dtype of the model, and ``layer_s``, the
    seconds of overhead per layer (kernel launches or Python). ``parts`` has the measured times of the parts
    of a pass, and then a measured overhead instead of ``layer_s``; it is None if they are not known, as for a
    data sheet. Raises UsageError for rates that are not above 0.
    """

    bytes_per_s: float
    flop_per_s: float
    layer_s: float = 0.0
    parts: Parts | None = None

    def __post_init__(self) -> None:
        if not self.bytes_per_s > 0 or not self.flop_per_s > 0 or not self.layer_s >= 0:
            raise UsageError("bandwidth and arithmetic rate must be above 0, and the time a layer at least 0")

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


class Work(NamedTuple):
    """What one pass reads and computes, how many seconds that takes at best, and what limits it."""

    read_bytes: float
    flop: float
    seconds: float
    bound: Literal["memory", "arithmetic", "overhead"]


class Pass(NamedTuple):
    """What a pass does: the ``tokens`` it computes, those of them that get logits, the bytes of the cache.

    The attention of prompts and that of decoding steps have rates of their own: each has its FLOP, and the
    tokens of a prompt or the mean context of a step.
    """

    tokens: int
    outputs: int
    cached_bytes: float
    prompt_flop: float = 0.0
    prompt_tokens: float = 0.0
    step_flop: float = 0.0
    context: float = 0.0


def prefill(model: Loaded, ceilings: Ceilings, tokens: int, batch: int = 1) -> Work:
    """Return a pass over ``batch`` prompts of ``tokens`` each; only the last token of each gets logits."""
    all_tokens = batch * tokens
    pairs = seen(model, all_tokens, all_tokens * tokens / 2, spread=tokens)
    flop = model.attention_flop(pairs, 0)
    return work(model, ceilings, Pass(all_tokens, batch, batch * model.cache_bytes(tokens), flop, tokens))


def decode(model: Loaded, ceilings: Ceilings, context: float, batch: int = 1) -> Work:
    """Return a decoding step of ``batch`` sequences that have ``context`` tokens each."""
    flop = model.attention_flop(0, seen(model, batch, batch * context, spread=0))
    cached_bytes = batch * model.cache_bytes(context)
    return work(model, ceilings, Pass(batch, batch, cached_bytes, step_flop=flop, context=context))


def work(model: Loaded, ceilings: Ceilings, one: Pass) -> Work:
    """Return what a pass needs, and what limits it."""
    read_bytes = model.read_bytes(one.tokens) + one.cached_bytes
    flop = model.flop(one.tokens, one.outputs) + one.prompt_flop + one.step_flop
    read_s, multiply_s = read_bytes / ceilings.bytes_per_s, flop / ceilings.flop_per_s
    bound: Literal["memory", "arithmetic", "overhead"] = "memory" if read_s >= multiply_s else "arithmetic"
    if ceilings.parts is None:
        spent_s, layer_s = max(read_s, multiply_s), ceilings.layer_s
    else:
        spent_s = _sum_s(model, ceilings.bytes_per_s, ceilings.parts, one)
        layer_s = ceilings.parts.layer_s(model)
    layers_s = model.facts.layers * layer_s
    return Work(read_bytes, flop, spent_s + layers_s, "overhead" if layers_s > spent_s else bound)


def _sum_s(model: Loaded, bytes_per_s: float, parts: Parts, one: Pass) -> float:
    """Return the seconds of all parts of a pass but the overhead of its layers (``FORMULA_SUM``)."""
    products, attention = parts.products, parts.attention
    more = one.tokens - 1  # the elementwise operations of one token are in the overhead
    return (
        sum(weights * products.weight_s(width, rows) for weights, width, rows in model.matrices(one.tokens))
        + model.head * parts.heads.weight_s(model.facts.hidden_size, one.outputs)
        + one.cached_bytes * (1 / bytes_per_s + CACHE_COPIES / parts.copy_bytes_per_s)
        + attention.prompt_s(model, one.prompt_flop, one.prompt_tokens)
        + attention.step_s(model, one.step_flop, one.context)
        + model.elementwise_bytes(more) / parts.copy_bytes_per_s
        + model.routed_values(more) * parts.routed_value_s
    )
