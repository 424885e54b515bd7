"""One file an engine. A runtime module has ``load(model_directory, options) -> Engine``.

An engine that can be stepped is measured token by token and interleaved with another.
Token ids are plain lists of int at this border; tensors stay inside the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Options:
    """What the YAML's ``runtime`` block asks of an engine, after defaults."""

    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    attention: str = "sdpa"
    random: bool = False


@dataclass(frozen=True)
class Work:
    """What a model has been asked for since it was loaded."""

    forward_calls: int
    flops: int


class Generation(Protocol):
    """A batch being decoded: opaque to everyone but its engine."""


class Engine(Protocol):
    """One loaded model that can decode greedily, one step at a time, and score text.

    An engine whose ``model`` is not a torch module also has ``census()`` (a Census), ``parameters()`` and
    ``finite(ids)``, and may have ``work()`` (a Work); any engine may have ``cache_bytes(generation)``, the
    bytes of its KV cache, and ``compiled_graphs()``, how many graphs were compiled so far. One that schemes
    of the KV cache are for has ``cache_class(generation)`` too.
    """

    model: Any

    def facts(self) -> dict[str, object]:
        """Read back from the loaded model: device, dtype, attention, threads, vocabulary, versions."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, no special tokens added."""

    def encode_chat(self, message: str) -> list[int]:
        """Token ids of one user message in the model's chat template (plain text where it has none)."""

    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""

    def end_ids(self) -> tuple[int, ...]:
        """The ids that end a reply."""

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Generation:
        """Read the prompts and choose the first token of each; room is made for ``new_tokens``."""

    def step(self, generation: Any) -> None:
        """Choose the next token of every sequence."""

    def tokens(self, generation: Any) -> list[list[int]]:
        """The tokens chosen so far, one list a prompt."""

    def logits(self, ids: Sequence[int]) -> Any:
        """Teacher-forced float32 logits, shape [len(ids), vocabulary], for position t over token t + 1."""

    def synchronise(self) -> None:
        """Return when the device has finished all that was asked of it."""


def compiled_graphs(engine: Engine) -> int:
    """How many graphs the engine has compiled so far; none for one that compiles nothing."""
    count: Callable[[], int] = getattr(engine, "compiled_graphs", lambda: 0)
    return count()
