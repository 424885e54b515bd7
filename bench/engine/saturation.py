"""Count the inputs of linear layers that are at the end of their number format, and how near the others come.

A model can reach the end of two kinds of formats. float16 ends at 65504; a larger number becomes infinite. A
fixed scale, such as the one that optimum-quanto calibrates for each layer, ends at the largest code; a larger
number is cut to it. The other formats need no check: float32 and bfloat16 reach 3e38, and a scale that is
computed anew for each token fits any number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.engine import Engine, census
from bench.records import Activations


@dataclass(frozen=True)
class Limit:
    """Hold the lowest and the largest number of a format; ``held`` converts a tensor to the format."""

    format: str
    low: float
    high: float
    held: Callable[[Any], Any]


@dataclass
class Saturation:
    """Collect the counts so far.

    ``looked`` counts the numbers by format, and ``layers`` those at an end of the format by layer. ``reach``
    is the largest number divided by the largest one of its format.
    """

    looked: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    reach: float = 0.0
    _last: tuple[Any, Any, int] = (None, None, 0)

    def found(self) -> Activations | None:
        """Return the result; None if no layer read a format with an end."""
        self._last = (None, None, 0)
        if not self.looked:
            return None
        formats = " and ".join(sorted(self.looked))
        return Activations(formats, self.looked.total(), float(f"{self.reach:.6g}"), dict(self.layers))

    def look(self, name: str, limit: Limit, read: Any) -> None:
        """Count the numbers that a layer reads.

        The layers of queries, keys and values read the same tensor. It is examined once, and counted for each
        of them.
        """
        tensor, its_limit, at_end = self._last
        if read is not tensor or limit is not its_limit:
            at_end = self._at_end(limit, limit.held(read))
            self._last = read, limit, at_end
        self.looked[limit.format] += read.numel()
        if at_end:
            self.layers[name] += at_end

    def _at_end(self, limit: Limit, held: Any) -> int:
        low, high = (float(end) for end in held.aminmax())
        furthest = max(low / limit.low, high / limit.high)
        if math.isfinite(furthest):
            self.reach = max(self.reach, furthest)
        if limit.low < low and high < limit.high:  # False with a NaN, which is then not counted below
            return 0
        count = int(((held <= limit.low) | (held >= limit.high)).sum())
        self.reach = max(self.reach, float(count > 0))
        return count


@contextmanager
def watched(engine: Engine) -> Iterator[Saturation]:
    """Count in the block what every linear layer of the engine reads.

    Nothing is counted in an engine whose computation hooks cannot observe completely.
    """
    saturation = Saturation()
    hooks = list(_hooks(engine.model, saturation)) if engine.seen_by_hooks() else []
    try:
        yield saturation
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(model: Any, saturation: Saturation) -> Iterator[Any]:
    import torch

    end = torch.finfo(torch.float16).max
    float16 = Limit("float16", -end, end, lambda read: read)
    for name, module in census.linear_layers(model):
        # before the hook of optimum-quanto, which replaces the layer's input by codes
        yield module.register_forward_pre_hook(
            _hook(name, _calibrated(module), float16, saturation), prepend=True
        )


def _hook(name: str, calibrated: Limit | None, float16: Limit, saturation: Saturation) -> Any:
    import torch

    def hook(_module: Any, given: tuple[Any, ...]) -> None:
        if not given or not given[0].numel():
            return
        if calibrated is not None:
            saturation.look(name, calibrated, given[0])
        elif given[0].dtype is torch.float16:
            saturation.look(name, float16, given[0])

    return hook


def _calibrated(module: Any) -> Limit | None:
    """Return the limit of an optimum-quanto layer with a calibrated scale; None for any other layer."""
    kind = getattr(module, "activation_qtype", None)
    if kind is None:
        return None

    def codes(read: Any) -> Any:
        if hasattr(read, "_data"):  # the previous layer has already converted its output to codes
            return read._data.float()
        scaled = read.float() / module.input_scale.float()
        rounded = scaled if kind.is_floating_point else scaled.round()
        return rounded.clamp(kind.qmin, kind.qmax).to(kind.dtype).float()

    name = str(kind.dtype).removeprefix("torch.").partition("_")[0]
    return Limit(name, float(kind.qmin), float(kind.qmax), codes)
