"""Run engines that answer whole requests: the user's own code, which decodes by itself or calls a service.

The harness does not see the single tokens of such an engine. So a request is one turn, and the figures are
those of whole requests: duration, cost, and the tokens of prompt and answer. The tokenizer of the config's
``model`` counts the tokens on both sides; the weights of that model are not loaded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engine import Engine, Options
from bench.engine.evidence import Census, Check, check
from bench.engine.template_limits import decoded, encoding, loading, whole_texts
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.records import Facts

MAX_ANSWER = 10_000_000  # characters; an endless loop in the user's code must not fill the memory


@dataclass
class Answers:
    """Hold the answers to a batch of requests."""

    texts: list[str]


class AnsweringEngine(Engine):
    """Answer whole requests. A subclass defines ``answer``, and names as ``target`` what it runs.

    Raises Unsupported if the model's directory has no tokenizer.
    """

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
            found = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer: Any = whole_texts(found)
        self._prompts: dict[tuple[int, ...], str] = {}
        self._longest = 0

    @abstractmethod
    def answer(self, prompt: str, longest: int) -> str:
        """Return the answer to one request. The user's code may keep to ``longest`` tokens or ignore it."""

    def facts(self) -> Facts:
        """Return the target and the settings; the model that the user's code uses is not known."""
        return Facts(
            engine=self.target,
            device="cpu",
            device_name="cpu",
            dtype=self.options.dtype,
            threads=self.options.threads,
            vocabulary=self._tokenizer.get_vocab_size(),
            random_weights=False,
            loaded="whole answers; tokens by the tokenizer of `model`",
        )

    def as_asked(self, options: Options) -> list[Check]:
        """Return a check that names the target; dtype, attention and threads are up to the user's code."""
        return [check("target", self.target, True, self.target)]

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Return no check, because the harness does not see single tokens."""
        return [], None

    def census(self, *, count_zeros: bool = True) -> Census:
        """Return an empty census, because there are no weights."""
        return Census((), 0, {})

    def parameters(self) -> int:
        """Return 0, because there are no weights."""
        return 0

    # ---- text ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, and remember its text."""
        ids = self._ids(text)
        self._prompts[tuple(ids)] = text
        return ids

    def encode_chat(self, message: str) -> list[int]:
        """Return the tokens of the message alone; the user's code applies a chat template if it needs one."""
        return self.encode(message)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return decoded(lambda: self._tokenizer.decode(list(ids)), len(ids))

    def end_ids(self) -> tuple[int, ...]:
        """Return no ids, because an answer ends where its text ends."""
        return ()

    # ---- answering -------------------------------------------------------------------------------

    def longest_answer(self, tokens: int) -> None:
        """Remember how many tokens an answer may have."""
        self._longest = tokens

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Answers:
        """Answer every prompt, one after the other.

        Raises VariantFailed for an answer that is not a string, or that is too long.
        """
        answers = []
        for ids in prompts:
            answer: Any = self.answer(self._prompts.get(tuple(ids)) or self.text(ids), self._longest)
            if not isinstance(answer, str) or len(answer) > MAX_ANSWER:
                what = f"{len(answer)} characters" if isinstance(answer, str) else type(answer).__name__
                raise VariantFailed(
                    Outcome.RUN_ERROR,
                    f"{self.target} must return a text of at most {MAX_ANSWER:,} characters, not {what}",
                )
            answers.append(answer)
        return Answers(answers)

    def step(self, generation: Answers) -> None:
        """Do nothing, because the answer is complete after ``prefill``."""

    def tokens(self, generation: Answers) -> list[list[int]]:
        """Return the tokens of every answer."""
        return [self._ids(text) for text in generation.texts]

    def _ids(self, text: str) -> list[int]:
        with encoding(len(text)):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def logits(self, ids: Sequence[int]) -> Any:
        """Raise Unsupported, because whole answers have no logits."""
        raise Unsupported("whole answers have no logits")

    def finite(self, ids: Sequence[int]) -> bool:
        """Return True, because there are no logits that could be infinite."""
        return True

    def synchronise(self) -> None:
        """Do nothing, because no work is pending once an answer is returned."""
