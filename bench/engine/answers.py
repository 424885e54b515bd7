"""Engines that answer whole requests: the user's own code, which decodes in its own way or calls something.

The harness sees no single token of such an engine, so a request is one turn, and the figures are those of
whole requests: duration, cost, and the tokens of prompt and answer. Tokens are counted by the tokenizer of
the config's ``model``, in the same way on both sides; the model's weights are not loaded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engine import Engine, Options
from bench.engine.bounds import decoded, encoding, loading
from bench.engine.evidence import Census, Check, check
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.records import Facts

MAX_ANSWER = 10_000_000  # characters: a loop in the user's code must not fill the memory


@dataclass
class Answers:
    """The answers to a batch of requests."""

    texts: list[str]


class AnsweringEngine(Engine):
    """The base of these engines; a subclass has ``answer`` and says by ``target`` what it runs."""

    TORCH = False
    WHOLE_ANSWERS = True

    def __init__(self, directory: Path, options: Options, target: str) -> None:
        if not (directory / "tokenizer.json").is_file():
            raise Unsupported(
                "`model` must have a tokenizer.json: its tokenizer counts the tokens of the answers"
            )
        from tokenizers import Tokenizer

        self.model = None
        self.target, self.options = target, options
        with loading(directory):
            self._tokenizer: Any = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._prompts: dict[tuple[int, ...], str] = {}
        self._longest = 0

    @abstractmethod
    def answer(self, prompt: str, longest: int) -> str:
        """Return the answer to one request, of at most ``longest`` tokens if the user's code heeds it."""

    def facts(self) -> Facts:
        """Say what is run; nothing is known of a model behind it."""
        return Facts(
            engine=self.target,
            device="cpu",
            device_name="cpu",
            dtype=self.options.dtype,
            attention=self.options.attention,
            threads=self.options.threads,
            vocabulary=self._tokenizer.get_vocab_size(),
            random_weights=False,
            loaded="whole answers; tokens by the tokenizer of `model`",
        )

    def as_asked(self, options: Options) -> list[Check]:
        """Check that the target answers; dtype, attention and threads are the user's own affair."""
        return [check("target", self.target, True, self.target)]

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Return nothing: the harness sees no single token."""
        return [], None

    def census(self, *, count_zeros: bool = True) -> Census:
        """Return an empty census: there are no weights to look at."""
        return Census((), 0, {})

    def parameters(self) -> int:
        """Return 0: there are no weights to count."""
        return 0

    # ---- text ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, and remember its text."""
        ids = self._ids(text)
        self._prompts[tuple(ids)] = text
        return ids

    def encode_chat(self, message: str) -> list[int]:
        """Return the tokens of the message itself: the template is the user's own."""
        return self.encode(message)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return decoded(lambda: self._tokenizer.decode(list(ids)), len(ids))

    def end_ids(self) -> tuple[int, ...]:
        """Return nothing: an answer ends where it ends."""
        return ()

    # ---- answering -------------------------------------------------------------------------------

    def longest_answer(self, tokens: int) -> None:
        """Remember how many tokens an answer may have."""
        self._longest = tokens

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Answers:
        """Answer every prompt, one after the other. Raises VariantFailed for an answer that is no text."""
        found = []
        for ids in prompts:
            given: Any = self.answer(self._prompts.get(tuple(ids)) or self.text(ids), self._longest)
            if not isinstance(given, str) or len(given) > MAX_ANSWER:
                what = f"{len(given)} characters" if isinstance(given, str) else type(given).__name__
                raise VariantFailed(
                    Outcome.RUN_ERROR, f"{self.target} gave no text of a sensible length but {what}"
                )
            found.append(given)
        return Answers(found)

    def step(self, generation: Answers) -> None:
        """Do nothing: the answer is complete."""

    def tokens(self, generation: Answers) -> list[list[int]]:
        """Return the tokens of every answer."""
        return [self._ids(text) for text in generation.texts]

    def _ids(self, text: str) -> list[int]:
        with encoding(len(text)):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def logits(self, ids: Sequence[int]) -> Any:
        """Refuse: whole answers have no logits."""
        raise Unsupported("whole answers have no logits")

    def finite(self, ids: Sequence[int]) -> bool:
        """Return True: there are no logits that could be infinite."""
        return True

    def synchronise(self) -> None:
        """Do nothing: an answer that is there is complete."""
