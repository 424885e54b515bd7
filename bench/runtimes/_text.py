"""Convert text to token ids and back, with the tokenizer that lies beside a model.

The engines that share this code read the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine import Engine
from bench.engine.bounds import bounded
from bench.errors import Outcome, VariantFailed

# What a chat template may take for one message; real ones take a millisecond and add some hundred characters.
TEMPLATE_S = 10.0
TEMPLATE_BYTES = 512 << 20
TEMPLATE_CHARACTERS = 1_000_000


class TextModel(Engine):
    """Read text as the files in ``directory`` say: tokenizer, chat template, end tokens."""

    def __init__(self, directory: Path, vocabulary: int) -> None:
        super().__init__()
        self.tokenizer = _tokenizer(directory)
        self.vocabulary = vocabulary
        self._ends = _end_ids(directory)

    def encode(self, text: str) -> list[int]:
        """Return token ids without special tokens; without a tokenizer, bytes modulo the vocabulary."""
        if self.tokenizer is None:
            return [byte % self.vocabulary for byte in text.encode()]
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def encode_chat(self, message: str) -> list[int]:
        """Encode one user turn in the model's own chat template; without a template, as plain text."""
        if self.tokenizer is None or not self.tokenizer.chat_template:
            return self.encode(message)
        turns = [{"role": "user", "content": message}]
        with bounded("the model's chat template", TEMPLATE_S, TEMPLATE_BYTES):
            text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        if len(text) > len(message) + TEMPLATE_CHARACTERS:
            raise VariantFailed(
                Outcome.LOAD_ERROR,
                f"the model's chat template makes {len(text)} characters of a message of {len(message)}",
            )
        return self.encode(text)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids`` without special tokens; without a tokenizer, the ids themselves."""
        if self.tokenizer is None:
            return json.dumps(list(ids))
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def end_ids(self) -> tuple[int, ...]:
        """Return the end tokens of the generation config, or else of the model's config.

        The generation config may name several.
        """
        return self._ends


def _tokenizer(directory: Path) -> Any | None:
    if not (directory / "tokenizer.json").exists() and not (directory / "tokenizer_config.json").exists():
        return None
    import transformers

    return transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)


def _end_ids(directory: Path) -> tuple[int, ...]:
    for name in ("generation_config.json", "config.json"):
        file = directory / name
        ends = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
        if ends is not None:
            return (ends,) if isinstance(ends, int) else tuple(ends)
    return ()
