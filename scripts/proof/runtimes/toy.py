"""The numpy engine with a plant: real work that the other side does not do. ``BENCH_PLANT`` names it.

* ``token``: one more output token.
* ``call``: one more forward pass per request.
* ``cache``: 1 MiB more of cache.
* ``slow:I``: prompt number I takes 60 % more forward passes.

Any other value leaves the engine as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.runtimes import numpy

REQUIRES = numpy.REQUIRES
DTYPES = numpy.DTYPES
MIB = 2**20
SHARE = 0.6


def load(directory: Path, options: Options) -> Planted:
    """Load the model as the numpy engine does, with the plant."""
    plain = numpy.load(directory, options)
    return Planted(plain.shape, plain.model, directory, options)


class Planted(numpy.NumpyEngine):
    """The same decoder, which really does the additional work."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.plant, _, which = os.environ.get("BENCH_PLANT", "none").partition(":")
        self.slow_one = int(which or -1)
        self.prompts: list[list[int]] = []
        self.slow, self.passes = False, 0

    def encode(self, text: str) -> list[int]:
        """Encode a prompt and remember it. The worker encodes its prompts once, in their order."""
        self.prompts.append(super().encode(text))
        return self.prompts[-1]

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> numpy.Batch:
        """Apply the plants, except for the passes that a slow request repeats in each step."""
        known = self.plant == "slow" and self.prompts
        marked = self.prompts[self.slow_one][: len(prompts[0])] if known else None
        self.slow, self.passes = list(prompts[0]) == marked, 0
        batch = super().prefill(prompts, new_tokens + 1)
        if self.plant == "token":
            super().step(batch)
        if self.plant == "call":
            self._again(batch)
        if self.plant == "cache":
            batch.more = bytearray(MIB)  # type: ignore[attr-defined]
        return batch

    def cache_bytes(self, generation: numpy.Batch) -> int:
        """Return the bytes of the cache, including what the plant holds beside it."""
        return super().cache_bytes(generation) + len(getattr(generation, "more", b""))

    def _logits(self, ids: Any, batch: numpy.Batch, last: bool = False) -> Any:
        """Do the first, third, fifth, sixth … pass of a slow request twice: 6 of 10."""
        found = super()._logits(ids, batch, last)
        if self.slow:
            self.passes += 1
            before = int(SHARE * (self.passes - 1) + 0.4)
            if int(SHARE * self.passes + 0.4) > before:
                batch.length -= ids.shape[1]
                found = super()._logits(ids, batch, last)
        return found

    def _again(self, batch: numpy.Batch) -> None:
        """Run a forward pass, and do not use its result."""
        super()._logits(batch.chosen[-1].reshape(-1, 1), batch, last=True)
        batch.length -= 1
