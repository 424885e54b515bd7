"""Convert text to token ids and back, with the tokenizer that lies beside a model.

The engines that share this code read the same ids.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.engine import Engine
from bench.engine.template_limits import as_bytes, bounded, decoded, encoding, loading, must_not_draw, within
from bench.errors import Outcome, VariantFailed
from bench.formatting import one_line
from bench.models.json_files import json_object

# The files of which a tokenizer has at least one, in any of the formats that transformers reads; those of a
# class that reads bytes are its settings alone.
TOKENIZERS = (
    "tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "prophetnet.tokenizer", "tekken.json",
    "tokenizer_config.json",
)  # fmt: skip
SURELY_WORDS = 1000  # tokens, of which a tokenizer without words has no hundred but special ones
# What a chat template may take for one message, and the most that it may make of it. Real ones take a
# millisecond, and add some hundred characters or a system prompt.
TEMPLATE_S = 10.0
# What a template that asks for the time is told, as those of Llama 3 do: the prompts of two rows, and of runs
# on two days, are the same.
TEMPLATE_DAY = datetime(2024, 7, 26)
MOST_AROUND = 64  # tokens that a tokenizer may make of one letter, with those before and behind it
TEMPLATE_BYTES = 512 << 20
TEMPLATE_CHARACTERS, TEMPLATE_TIMES = 20_000, 8


class TextModel(Engine):
    """Read text as the files in ``directory`` say: tokenizer, chat template, end tokens."""

    def __init__(self, directory: Path, vocabulary: int, *, random: bool) -> None:
        """Load the tokenizer. With ``random`` weights it does not matter what the model reads."""
        super().__init__()
        self.tokenizer = tokenizer_of(directory)
        self._bytes_will_do = random
        self.vocabulary = vocabulary
        self._ends = end_ids_of(directory)

    def encode(self, text: str) -> list[int]:
        """Return token ids without special tokens; for random weights, bytes modulo the vocabulary.

        Raises VariantFailed without a tokenizer, and if it has more tokens than the model.
        """
        if self.tokenizer is None:
            return as_bytes(self.vocabulary, text, random=self._bytes_will_do)
        with encoding(len(text)):
            ids = list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        return self._known(ids, len(text))

    def _known(self, ids: list[int], letters: int) -> list[int]:
        tokenizer: Any = self.tokenizer
        return within(self.vocabulary, ids, tokenizer.convert_ids_to_tokens, letters)

    def begin_ids(self) -> tuple[int, ...]:
        """Return what the tokenizer puts before a text by itself.

        Llama, Gemma and Mistral were trained with it, and compute another distribution without it.
        """
        return self._begins_with

    @cached_property
    def _begins_with(self) -> tuple[int, ...]:
        return () if self.tokenizer is None else begins_with(self.tokenizer, self.vocabulary)

    def reads(self) -> str | None:
        """Say whether there is a chat template, and with which tokens every plain text begins."""
        if self.tokenizer is None:
            return None
        chat = "in its chat template" if self.tokenizer.chat_template else "as plain text: it has no template"
        begins = " ".join(map(str, self.tokenizer.convert_ids_to_tokens(list(self.begin_ids()))))
        return one_line(f"chat messages {chat}; plain text begins with {begins or 'no special token'}")[:200]

    def encode_chat(self, message: str) -> list[int]:
        """Encode one user turn in the model's own chat template; without a template, as plain text."""
        if self.tokenizer is None or not self.tokenizer.chat_template:
            return self.read(message)
        turns = [{"role": "user", "content": message}]
        with bounded("the model's chat template", TEMPLATE_S, TEMPLATE_BYTES):
            text = self._in_template(turns)
        if len(text) > TEMPLATE_CHARACTERS + TEMPLATE_TIMES * len(message):
            raise VariantFailed(
                Outcome.LOAD_ERROR,
                f"the model's chat template makes {len(text)} characters of a message of "
                f"{len(message)}; the most is {TEMPLATE_TIMES} times that, and {TEMPLATE_CHARACTERS} more",
            )
        return self.encode(text)

    def _in_template(self, turns: list[dict[str, str]]) -> str:
        """Render the turns. Raises VariantFailed if the template is none: it is a program, so anything may be
        wrong with it."""
        from transformers.utils.chat_template_utils import jinja2

        assert self.tokenizer is not None
        before = random.getstate()
        random.seed(0)  # a template may draw numbers: all rows must read the same
        try:
            text = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=False, strftime_now=TEMPLATE_DAY.strftime
            )
            str(text).encode()  # half of a letter is no text
            return str(text)
        except RecursionError:
            raise  # has a sentence of its own
        except (
            jinja2.TemplateError, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
            SyntaxError, TypeError, ValueError,
        ) as bad:  # fmt: skip
            raise VariantFailed(
                Outcome.LOAD_ERROR,
                f"the model's chat template cannot be used ({type(bad).__name__}: "
                f"{one_line(str(bad))[:200]}); mend it, or remove it",
            ) from bad
        finally:
            random.setstate(before)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids`` without special tokens; without a tokenizer, the ids themselves."""
        tokenizer = self.tokenizer
        if tokenizer is None:
            return json.dumps(list(ids))
        return decoded(lambda: tokenizer.decode(list(ids), skip_special_tokens=True), len(ids))

    def end_ids(self) -> tuple[int, ...]:
        """Return the end tokens of the generation config, or else of the model's config.

        The generation config may name several.
        """
        return self._ends


def begins_with(tokenizer: Any, vocabulary: int) -> tuple[int, ...]:
    """Return what a tokenizer puts before a text by itself. Raises VariantFailed if it puts a book there, and
    for a token that a model of this vocabulary does not have."""
    with bounded("the model's tokenizer", TEMPLATE_S, TEMPLATE_BYTES):
        whole = list(tokenizer("a", verbose=False)["input_ids"])
        bare = list(tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"])
    if len(whole) > MOST_AROUND:
        raise VariantFailed(
            Outcome.LOAD_ERROR, f"the tokenizer makes {len(whole)} tokens of a text of one letter"
        )
    within(vocabulary, whole, tokenizer.convert_ids_to_tokens, 1)
    found = whole[: len(whole) - len(bare)]
    if whole == [*found, *bare]:
        return tuple(found)
    return tuple(whole[:1]) if whole[:1] == [tokenizer.bos_token_id] else ()  # an end token is behind, too


def tokenizer_of(directory: Path) -> Any | None:
    """Return the tokenizer whose files lie in ``directory``, or None if there are none."""
    if not any((directory / name).exists() for name in TOKENIZERS):
        return None
    import transformers

    with loading(directory):
        found = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    must_not_draw(getattr(getattr(found, "backend_tokenizer", None), "model", None))
    if not _has_words(found):
        raise VariantFailed(
            Outcome.LOAD_ERROR,
            f"{directory}: transformers makes a {type(found).__name__} without words of the tokenizer files "
            "there: add its tokenizer.json",
        )
    return found


def _has_words(tokenizer: Any) -> bool:
    """Return whether a tokenizer has more than special tokens. transformers makes one of settings alone, with
    at most a word for the space, and every text becomes the same unknown tokens, or none."""
    if tokenizer.vocab_size >= SURELY_WORDS:
        return True
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    return len(tokenizer.get_vocab().keys() - special) > 1


def end_ids_of(directory: Path) -> tuple[int, ...]:
    """Return the end tokens of the generation config beside a model, or else of its config."""
    for name in ("generation_config.json", "config.json"):
        file = directory / name
        ends = json_object(file).get("eos_token_id") if file.is_file() else None
        if ends is None:
            continue
        found = tuple(ends) if isinstance(ends, list) else (ends,)
        if not all(type(one) is int for one in found):
            raise VariantFailed(Outcome.LOAD_ERROR, f"{file}: eos_token_id is {str(ends)[:60]}, no number")
        return found
    return ()


def same_tokenizer(ours: Path, theirs: Path) -> bool:
    """Return whether two models read text as the same tokens: theirs is the same directory, or the same file.

    Two without a tokenizer, which read bytes, are the same too.
    """
    if ours == theirs:
        return True
    files = [place / "tokenizer.json" for place in (ours, theirs)]
    if not any(file.is_file() for file in files):
        return not any((place / name).exists() for place in (ours, theirs) for name in TOKENIZERS)
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()
