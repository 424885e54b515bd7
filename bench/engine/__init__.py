"""The contract that both sides know: what an engine is, and what is measured in it.

Token ids are plain lists of int at this border; tensors stay inside the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.engine import census
from bench.engine.evidence import Census
from bench.records import Facts


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


@dataclass(frozen=True)
class Changed:
    """What a scheme gives back when the model alone does not say everything.

    ``make_cache(sequences, tokens)`` returns an empty KV cache of another kind than the engine's own;
    ``step`` is called instead of ``model`` for one token more of every sequence.
    """

    model: Any
    make_cache: Callable[[int, int], Any] | None = None
    step: Any | None = None


@dataclass(frozen=True)
class Teacher:
    """The baseline's model, for schemes that learn from it: where it lies, and how to load it."""

    directory: Path
    load: Callable[[], Any]


class Engine(ABC):
    """A loaded model that decodes greedily, one step at a time, and scores text.

    ``model`` is what schemes change; what a ``generation`` is, only its engine knows. An engine whose model
    is not a torch module says ``TORCH = False`` and has its own ``census`` and ``parameters``.
    """

    TORCH: ClassVar[bool] = True
    model: Any

    # ---- what was loaded -------------------------------------------------------------------------

    @abstractmethod
    def facts(self) -> Facts:
        """What the loaded model says of itself."""

    def census(self, *, count_zeros: bool = True) -> Census:
        """Every weight matrix as it is stored. Counting zeros reads every floating-point weight."""
        return census.take(self.model, count_zeros=count_zeros)

    def parameters(self) -> int:
        """How many numbers the model has, tied ones counted once."""
        return sum(one.numel() for one in self.model.parameters())

    def change(self, changed: Changed) -> None:
        """Take what a scheme gave back."""
        self.model = changed.model

    # ---- text ------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, no special tokens added."""

    @abstractmethod
    def encode_chat(self, message: str) -> list[int]:
        """Token ids of one user message in the model's chat template (plain text where it has none)."""

    @abstractmethod
    def text(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""

    @abstractmethod
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end a reply."""

    # ---- decoding --------------------------------------------------------------------------------

    @abstractmethod
    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Any:
        """Read the prompts and choose the first token of each; room is made for ``new_tokens``. Returns the
        generation."""

    @abstractmethod
    def step(self, generation: Any) -> None:
        """Choose the next token of every sequence."""

    @abstractmethod
    def tokens(self, generation: Any) -> list[list[int]]:
        """The tokens chosen so far, one list per prompt."""

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> Any:
        """Teacher-forced float32 logits, shape [len(ids), vocabulary], for position t over token t + 1."""

    def finite(self, ids: Sequence[int]) -> bool:
        """Whether the logits of a prompt are numbers."""
        return bool(self.logits(ids).isfinite().all())

    @abstractmethod
    def synchronise(self) -> None:
        """Return when the device has finished all that was asked of it."""

    # ---- what is counted -------------------------------------------------------------------------

    def work(self) -> Work | None:
        """What the model has been asked for so far, where the engine counts that itself."""
        return None

    def cache_bytes(self, generation: Any) -> int | None:
        """Bytes of the keys and values held for this generation; None where that cannot be seen."""
        return None

    def cache_class(self, generation: Any) -> str:
        """What holds the keys and values of a layer."""
        return type(self).__name__

    def compiled_graphs(self) -> int:
        """How many graphs were compiled in this process so far."""
        return 0
