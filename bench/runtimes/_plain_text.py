"""Convert text for engines without transformers: they read ``tokenizer.json``, and no chat templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.engine import Engine
from bench.engine.template_limits import as_bytes, decoded, encoding, loading, whole_texts, within
from bench.formatting import MIB, one_line
from bench.models.json_files import json_object

TOKENIZER_BYTES = 256 * MIB


# Classes with which transformers reads tokenizer.json as it stands there. With every other class it takes the
# words and the merges from the file, and builds around them what its own code says.
AS_IT_STANDS = (None, "PreTrainedTokenizerFast", "TokenizersBackend")
BUILT: Mapping[str, Mapping[str, Any]] = {
    "GPT2Tokenizer": {
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True,
        },
    },
}  # fmt: skip


def why_other_tokens(directory: Path) -> str | None:
    """Return why transformers could make other tokens of a text than ``tokenizer.json`` says; None if it
    would not, as far as the files show it, and if there are no files."""
    file, settings = directory / "tokenizer.json", directory / "tokenizer_config.json"
    if not file.is_file() or not settings.is_file():
        return None
    named = json_object(settings, TOKENIZER_BYTES).get("tokenizer_class")
    if named in AS_IT_STANDS:
        return None
    built = BUILT.get(str(named).removesuffix("Fast"))
    held = json_object(file, TOKENIZER_BYTES)
    if built is not None and all(held.get(key) == value for key, value in built.items()):
        return None
    return (
        f"{settings.name}: with the tokenizer_class {str(named)[:60]} transformers splits a text in its own "
        "way, and this engine as tokenizer.json says, so it could read other tokens: name TokenizersBackend "
        "there if the file is right"
    )


class PlainText(Engine):
    """An engine that reads and writes text with the tokenizers library."""

    _tokenizer: Any = None

    def __init__(self, directory: Path, vocabulary: int, *, random: bool) -> None:
        self._directory, self._vocabulary, self._bytes_will_do = directory, vocabulary, random

    def encode(self, text: str) -> list[int]:
        """Encode with ``tokenizer.json``; a model of random weights without one reads bytes.

        Raises VariantFailed if other weights have none, and if it cannot be read, or has more tokens than the
        model.
        """
        tokenizer = self._text_model()
        if tokenizer is None:
            return as_bytes(self._vocabulary, text, random=self._bytes_will_do)
        with encoding(len(text)):
            ids = list(tokenizer.encode(text, add_special_tokens=False).ids)
        return within(self._vocabulary, ids, tokenizer.id_to_token, len(text))

    def begin_ids(self) -> tuple[int, ...]:
        """Return what the tokenizer puts before a text by itself."""
        tokenizer = self._text_model()
        if tokenizer is None:
            return ()
        with encoding(0):
            whole = list(tokenizer.encode("a").ids)
            bare = list(tokenizer.encode("a", add_special_tokens=False).ids)
        places = range(len(whole) - len(bare) + 1)
        place = next((n for n in places if whole[n : n + len(bare)] == bare), 0)
        return tuple(within(self._vocabulary, whole[:place], tokenizer.id_to_token, 0))

    def reads(self) -> str | None:
        """Say that a chat message is read as plain text, whether or not the model has a template."""
        if self._text_model() is None:
            return None
        begins = [str(self._tokenizer.id_to_token(one)) for one in self.begin_ids()]
        first = " ".join(begins) or "no special token"
        return one_line(
            f"chat messages as plain text: the engine has no templates; plain text begins with {first}"
        )[:200]

    def encode_chat(self, message: str) -> list[int]:
        """Encode the message as plain text: this engine has no chat templates."""
        return self.read(message)

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

            with loading(self._directory):
                found = Tokenizer.from_file(str(path))
            self._tokenizer = whole_texts(found)
        return self._tokenizer
