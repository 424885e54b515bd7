"""Define the interface of an engine, which loads a model, decodes, and reports what can be measured in it.

Token ids cross this interface as plain lists of int; tensors stay inside the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engine import census
from bench.engine.device import Cpu, Device
from bench.engine.evidence import Census, Check, check
from bench.engine.stepping import by_steps
from bench.errors import Unsupported
from bench.records import Cascaded, Facts, Speculated, SplitWork

if TYPE_CHECKING:
    from bench.engine.ranks import Ranks
    from bench.engine.speculation import Drafter
    from bench.engine.splitting import Rest


@dataclass(frozen=True)
class Options:
    """Hold the settings of the config's ``runtime`` block for an engine, with defaults filled in."""

    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    attention: str = "sdpa"
    random: bool = False
    task: str | None = None  # for an encoder: embedding or classification
    own: Mapping[str, Any] = field(default_factory=dict)  # keys that only this engine has


@dataclass(frozen=True)
class Work:
    """Count the work that a model has done since it was loaded."""

    forward_calls: int
    flops: int


@dataclass(frozen=True)
class Changed:
    """Hold the result of a scheme that changes more than the model.

    ``make_cache(sequences, tokens)`` returns an empty KV cache of another kind than the engine's own.
    ``step`` is called instead of ``model`` to decode one more token of every sequence. ``drafter`` proposes
    tokens that the engine verifies with ``model``. ``rest`` is the part of the model in another process.
    """

    model: Any
    make_cache: Callable[[int, int], Any] | None = None
    step: Any | None = None
    drafter: Drafter | None = None
    rest: Rest | None = None


@dataclass(frozen=True)
class Teacher:
    """Give the baseline's model to schemes that learn from it: its directory and a function to load it."""

    directory: Path
    load: Callable[[], Any]


class Engine(ABC):
    """Decode greedily with a loaded model, one step at a time, and score text with it.

    Schemes change ``model``. Only the engine itself knows what its ``generation`` objects contain. An engine
    whose model is not a torch module sets ``TORCH = False`` and has its own ``census`` and ``parameters``.
    """

    TORCH: ClassVar[bool] = True
    WHOLE_ANSWERS: ClassVar[bool] = False  # see ``bench.engine.answers``
    programs: tuple[int, ...] = ()  # process numbers of what computes for the engine while it waits
    ranks: Ranks | None = None  # the other processes of a model that is split over several devices
    ENCODES: ClassVar[bool] = False  # an encoder, see ``bench.runtimes._encoder``
    model: Any
    runs_on: Device = Cpu()

    # ---- what was loaded -------------------------------------------------------------------------

    @abstractmethod
    def facts(self) -> Facts:
        """Return what the loaded model reports about itself."""

    def census(self, *, count_zeros: bool = True) -> Census:
        """Describe every weight matrix as it is stored; ``count_zeros`` reads every floating-point weight."""
        return census.take(self.model, count_zeros=count_zeros)

    def parameters(self) -> int:
        """Return the number of parameters; tied ones are counted once, and packed ones as before packing."""
        return census.parameters(self.model)

    def change(self, changed: Changed) -> None:
        """Use the model that a scheme returned."""
        self.model = changed.model

    def as_asked(self, options: Options) -> list[Check]:
        """Check that the loaded model has the dtype, attention and threads that the config asks for."""
        facts, asked = self.facts(), options.attention
        checks = [check("dtype", facts.dtype, facts.dtype == options.dtype, options.dtype)]
        if facts.attention:  # an engine that has only one says nothing
            checks.append(check("attention", facts.attention, facts.attention == asked, asked))
        if options.threads is not None:
            checks.append(check("threads", facts.threads, facts.threads == options.threads, options.threads))
        return checks

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Check that decoding step by step computes the same as one pass over all tokens. Also return the
        bytes that one more token adds to the cache, or None if they cannot be read."""
        return by_steps(self, self.facts())

    def as_batched(self, *, padded: bool = True) -> list[Check]:
        """Check that a prompt of a batch, ``padded`` or not, is decoded as it is alone; none if it is so."""
        return []

    def longest_answer(self, tokens: int) -> None:  # noqa: B027 - only engines of whole answers need it
        """Learn how many tokens an answer may have; called before any request."""

    # ---- text ------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the token ids of plain text, without special tokens."""

    def begin_ids(self) -> tuple[int, ...]:
        """Return the ids with which the model expects every text to begin, such as BOS; most have none."""
        return ()

    def reads(self) -> str | None:
        """Say for the result in what form the model reads a text; None if the engine has no tokenizer."""
        return None

    def read(self, text: str, longest: int | None = None) -> list[int]:
        """Return the token ids of a request: the begin ids, then the plain text, cut to ``longest`` ids."""
        ids = [*self.begin_ids(), *self.encode(text)]
        return ids[:longest] if longest else ids

    @abstractmethod
    def encode_chat(self, message: str) -> list[int]:
        """Return the token ids of one user message in the chat template, or as plain text without one."""

    @abstractmethod
    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""

    @abstractmethod
    def end_ids(self) -> tuple[int, ...]:
        """Return the ids that end a reply."""

    # ---- decoding --------------------------------------------------------------------------------

    @abstractmethod
    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Any:
        """Read the prompts, choose the first token of each, reserve room for ``new_tokens``, and return the
        generation, which ``step`` continues."""

    @abstractmethod
    def step(self, generation: Any) -> None:
        """Choose the next token of every sequence."""

    @abstractmethod
    def tokens(self, generation: Any) -> list[list[int]]:
        """Return the tokens chosen so far, one list per prompt."""

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> Any:
        """Return teacher-forced float32 logits, shape [len(ids), vocabulary]; row t predicts token t + 1."""

    def encoded(self, generation: Any) -> list[list[float]]:
        """Return an encoder's output for each text of a batch. Raises Unsupported for any other engine."""
        raise Unsupported(f"{type(self).__name__} is no encoder")

    def labels(self) -> tuple[str, ...]:
        """Return the names of a classifier's labels, in the order of its logits; other models have none."""
        return ()

    def logits_in_batch(self, texts: Sequence[Sequence[int]]) -> Any | None:
        """Return the logits of texts of one length from one pass, float32, shape [texts, tokens, vocabulary];
        None if the engine computes texts one at a time."""
        return None

    def finite(self, ids: Sequence[int]) -> bool:
        """Return whether all logits of a prompt are finite numbers (no NaN, no infinity)."""
        return bool(self.logits(ids).isfinite().all())

    def synchronise(self) -> None:
        """Wait until the device has finished all work it was given."""
        self.runs_on.synchronise()

    # ---- counters --------------------------------------------------------------------------------

    def work(self) -> Work | None:
        """Return the work of the model so far; None if the engine does not count it itself."""
        return None

    def drafted(self, context: Sequence[int], most: int) -> int | None:
        """Return how many tokens are drafted after ``context``; None if the engine does not speculate."""
        return None

    def speculated(self) -> Speculated | None:
        """Return the counts of speculation since the last call; None if the engine does not speculate."""
        return None

    def watch(self, statistic: Callable[[Any], Any]) -> None:
        """From now on, compute ``statistic`` of the logits [sequences, vocabulary] from which each token is
        chosen. Raises Unsupported for an engine that does not give access to its logits."""
        raise Unsupported(f"{type(self).__name__} does not show the logits of its tokens")

    def watched(self, generation: Any) -> list[list[Any]]:
        """Return the statistic of every token so far, one list per prompt."""
        raise Unsupported(f"{type(self).__name__} does not show the logits of its tokens")

    def choosing(self, choose: Callable[[Any], Any]) -> AbstractContextManager[None]:
        """Choose tokens with ``choose`` inside the block, and not greedily: it maps logits [sequences,
        vocabulary] to ids [sequences, 1]. The statistic of ``watch`` is not computed meanwhile. Raises
        Unsupported for an engine that does not give access to its logits."""
        raise Unsupported(f"{type(self).__name__} does not show the logits of its tokens")

    def cascaded(self) -> tuple[Cascaded, ...]:
        """Return what a cascade did with each request since the last call; empty for any other engine."""
        return ()

    def split_work(self) -> SplitWork | None:
        """Return the work of both processes since the last call; None if the model is in one process."""
        return None

    def cache_bytes(self, generation: Any) -> int | None:
        """Return the bytes of the generation's keys and values; None if they cannot be read."""
        return None

    def cache_classes(self, generation: Any) -> Mapping[str, int]:
        """Return how many layers each class holds the keys and values of."""
        return {type(self).__name__: 1}

    def compiled_graphs(self) -> int:
        """Return how many graphs have been compiled in this process since the engine was made."""
        return 0

    def seen_by_hooks(self) -> bool:
        """Return whether hooks on torch modules observe the whole computation."""
        return self.TORCH and not self.compiled_graphs()
