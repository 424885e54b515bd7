"""An engine without a model: what it takes for its durations is data, on a clock that nothing else moves.

It imports little, since each worker of a run with fake models imports it: a worker then starts in a tenth of
a second. What tests need beside it is in ``fakes.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

from bench.engine import Engine, Options
from bench.engine.evidence import Check
from bench.records import Facts


class DataClock:
    """``perf_counter_ns`` that moves when it is told to; each thread has its own time."""

    def __init__(self) -> None:
        self._local = threading.local()

    def __call__(self) -> int:
        return getattr(self._local, "now_ns", 0)

    def advance(self, ns: int) -> None:
        self._local.now_ns = self() + ns


class FakeModel:
    """A model without a single tensor."""

    def get_output_embeddings(self) -> None:
        return None

    def modules(self) -> list[Any]:
        return []

    def named_modules(self) -> list[tuple[str, Any]]:
        return []

    def parameters(self) -> list[Any]:
        return []

    def named_parameters(self) -> list[tuple[str, Any]]:
        return []


class FakeLogits:
    """As much of a tensor as the check for NaN needs."""

    def __init__(self, finite: bool) -> None:
        self._finite = finite

    def isfinite(self) -> FakeLogits:
        return self

    def all(self) -> bool:
        return self._finite


class FakeEngine(Engine):
    """An engine whose prefill and steps take as long as the given nanoseconds say, over and over.

    A reply is the prompt's checksum counted upwards; ``diverge_at`` makes it differ from that token on.
    ``log`` gets (kind, number of the call) of every prefill and step. Its model has not one matrix, which the
    census of every torch model can count.
    """

    def __init__(
        self,
        clock: DataClock | None = None,
        prefill_ns: Iterable[int] = (10_000_000,),
        step_ns: Iterable[int] = (1_000_000,),
        options: Options | None = None,
        facts: Mapping[str, object] | None = None,
        diverge_at: int | None = None,
        finite: bool = True,
    ) -> None:
        self.model = FakeModel()
        self.clock = clock or DataClock()
        self.log: list[tuple[str, int]] = []
        self._prefill_ns, self._step_ns = cycle(list(prefill_ns)), cycle(list(step_ns))
        self._options, self._more = options or Options(), dict(facts or {})
        self._diverge_at, self._finite = diverge_at, finite

    def facts(self) -> Facts:
        known: dict[str, Any] = {
            "engine": "fake",
            "device": "cpu",
            "dtype": self._options.dtype,
            "attention": self._options.attention,
            "threads": self._options.threads or 1,
            "vocabulary": 1000,
            "context": 4096,
            "kv_bytes_per_token": 8,
            "random_weights": True,
        }
        return Facts(**{**known, **self._more})

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Nothing: its replies are data, and its calls are counted."""
        return [], None

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def encode_chat(self, message: str) -> list[int]:
        return [1, *self.encode(message)]

    def text(self, ids: Sequence[int]) -> str:
        return " ".join(str(one) for one in ids)

    def end_ids(self) -> tuple[int, ...]:
        return (2,)

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
        self.clock.advance(next(self._prefill_ns))
        self.log.append(("prefill", len(self.log)))
        return [[100 + sum(prompt) % 500] for prompt in prompts]

    def step(self, generation: list[list[int]]) -> None:
        self.clock.advance(next(self._step_ns))
        self.log.append(("step", len(self.log)))
        for row in generation:
            row.append(row[-1] + (7 if len(row) == self._diverge_at else 1))

    def tokens(self, generation: list[list[int]]) -> list[list[int]]:
        return [list(row) for row in generation]

    def logits(self, ids: Sequence[int]) -> Any:
        return FakeLogits(self._finite)

    def synchronise(self) -> None:
        return None
