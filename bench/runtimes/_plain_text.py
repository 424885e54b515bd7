"""Text for engines without transformers: ``tokenizer.json`` or bytes, and no chat templates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.engine import Engine
from bench.engine.bounds import decoded, encoding


class PlainText(Engine):
    """An engine that reads and writes text with the tokenizers library."""

    _tokenizer: Any = None

    def __init__(self, directory: Path, vocabulary: int) -> None:
        self._directory, self._vocabulary = directory, vocabulary

    def encode(self, text: str) -> list[int]:
        """Encode with ``tokenizer.json``; a model without one reads bytes modulo its vocabulary."""
        tokenizer = self._text_model()
        if tokenizer is None:
            return [byte % self._vocabulary for byte in text.encode()]
        with encoding(len(text)):
            return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def begin_ids(self) -> tuple[int, ...]:
        """Return what the tokenizer puts before a text by itself."""
        tokenizer = self._text_model()
        return () if tokenizer is None else tuple(tokenizer.encode("").ids[:1])

    def encode_chat(self, message: str) -> list[int]:
        """Encode the message as plain text: this engine has no chat templates."""
        return self.encode(message)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``; without a tokenizer, the ids themselves."""
        tokenizer = self._text_model()
        if tokenizer is None:
            return json.dumps(list(ids))
        return decoded(lambda: tokenizer.decode(list(ids)), len(ids))

    def _text_model(self) -> Any:
        path = self._directory / "tokenizer.json"
        if self._tokenizer is None and path.is_file():
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(path))
        return self._tokenizer
