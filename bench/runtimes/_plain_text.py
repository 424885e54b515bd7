"""Convert text for engines without transformers: they read ``tokenizer.json``, and no chat templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.engine import Engine
from bench.engine.template_limits import as_bytes, decoded, encoding, loading, whole_texts, within
from bench.errors import Unsupported
from bench.formatting import MIB, one_line
from bench.models.json_files import json_object

TOKENIZER_BYTES = 256 * MIB
SETTINGS = "tokenizer_config.json"

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


# Keys under which files of transformers name tokens that a text is searched for before it is split.
NAMED = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    "additional_special_tokens", "extra_special_tokens",
)  # fmt: skip
MATCHED = ("lstrip", "rstrip", "single_word", "normalized")  # how a token is found in a text


def why_other_tokens(directory: Path) -> str | None:
    """Return why transformers could make other tokens of a text than ``tokenizer.json`` says; None if it
    would not, as far as the files show it, and if there are no files."""
    file = directory / "tokenizer.json"
    if not file.is_file():
        return None
    held = json_object(file, TOKENIZER_BYTES)
    return _other_special_tokens(directory, held) or _other_class(directory, held)


def must_read_as_transformers(directory: Path) -> None:
    """Raise VariantFailed if the tokenizer of a model cannot be read, and Unsupported if transformers could
    make other tokens of a text."""
    _read(directory)
    if reason := why_other_tokens(directory):
        raise Unsupported(reason)


def _read(directory: Path) -> Any:
    """Return the tokenizer of a model; None if it has no file of one. Raises VariantFailed."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        return None
    from tokenizers import Tokenizer

    with loading(directory):
        return Tokenizer.from_file(str(path))


def _other_class(directory: Path, held: Mapping[str, Any]) -> str | None:
    """Return what is said of a class that does not take ``tokenizer.json`` as it stands; else None."""
    settings = directory / SETTINGS
    named = json_object(settings, TOKENIZER_BYTES).get("tokenizer_class") if settings.is_file() else None
    if named in AS_IT_STANDS:
        return None
    built = BUILT.get(str(named).removesuffix("Fast"))
    if built is not None and all(held.get(key) == value for key, value in built.items()):
        return None
    return (
        f"{settings.name}: with the tokenizer_class {str(named)[:60]} transformers splits a text in its own "
        "way, and this engine as tokenizer.json says, so it could read other tokens: name TokenizersBackend "
        "there if the file is right"
    )


def _other_special_tokens(directory: Path, held: Mapping[str, Any]) -> str | None:
    """Return which token the files beside ``tokenizer.json`` name that transformers would look for in a text
    and the file would not, or not in the same way; None if there is none."""
    listed = held.get("added_tokens")
    known = {
        one.get("content"): [one.get(flag) for flag in MATCHED]
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("content"), str)
    }
    for name, content, flags in _named_tokens(directory):
        how = "not there" if content not in known else "found in another way there"
        if content not in known or (flags is not None and flags != known[content]):
            return (
                f"{name} has the token {content[:60]!r}, which is {how} in tokenizer.json (added_tokens): "
                "transformers would read other tokens than this engine, so add it there"
            )
    return None


def _named_tokens(directory: Path) -> Iterator[tuple[str, str, list[Any] | None]]:
    """Yield (file, token, how it is found in a text) of every token that the files name; the last is None
    where a file says nothing of it, or transformers goes by ``tokenizer.json``."""
    for name in (SETTINGS, "special_tokens_map.json"):
        path = directory / name
        said = json_object(path, TOKENIZER_BYTES) if path.is_file() else {}
        decoder = said.get("added_tokens_decoder")
        for one in decoder.values() if name == SETTINGS and isinstance(decoder, Mapping) else ():
            if isinstance(one, Mapping) and isinstance(one.get("content"), str):
                yield name, one["content"], [one.get(flag, flag == "normalized") for flag in MATCHED]
        for key in NAMED:
            yield from ((name, content, None) for content in _contents(said.get(key)))
    if (path := directory / "added_tokens.json").is_file():
        yield from ((path.name, content, None) for content in json_object(path, TOKENIZER_BYTES))


def _contents(value: Any) -> Iterator[str]:
    """Yield the tokens that a value names: one as text or as an object, or several of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and isinstance(value.get("content"), str):
        yield value["content"]
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _contents(one)


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
        if self._tokenizer is None and (found := _read(self._directory)) is not None:
            self._tokenizer = whole_texts(found)
        return self._tokenizer
