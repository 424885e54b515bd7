"""Find tokens of a tokenizer that its model does not know: their numbers are beyond its vocabulary.

A model cannot read a prompt or an evaluation text in which one stands. A tokenizer with such tokens is
not refused for it: some published models have a token for padding that nobody ever asks them to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.formatting import one_line
from bench.models.files import TEXT_MAX_BYTES
from bench.models.json_files import json_object
from bench.models.lora import config_directory
from bench.models.text_config import text_config

SHOWN = 40  # letters of a token
FILE = "tokenizer.json"


def unknown_tokens(directory: Path) -> str | None:
    """Return a sentence about the tokens that ``tokenizer.json`` of a model directory, or of an adapter, has
    beyond the ``vocab_size`` of the model. None if it has none, or if a file does not say.

    Raises UsageError for files that cannot be read.
    """
    home = config_directory(directory)
    place = directory if (directory / FILE).is_file() else home
    if not (place / FILE).is_file() or not (home / "config.json").is_file():
        return None
    rows = text_config(json_object(home / "config.json")).get("vocab_size")
    if type(rows) is not int:
        return None
    beyond = sorted({(number, token) for token, number in _tokens(place) if number >= rows})
    if not beyond:
        return None
    number, token = beyond[0]
    others = f", and {len(beyond) - 1:,} more" if len(beyond) > 1 else ""
    return (
        f"{FILE} has tokens that the model does not know: {one_line(token)[:SHOWN]!r} has the number "
        f"{number:,}{others}, and its vocab_size is {rows:,}: a row that must read one fails"
    )


def _tokens(directory: Path) -> Iterator[tuple[str, int]]:
    """Yield (token, number) of the vocabulary of ``tokenizer.json`` and of what was added to it. The
    vocabulary of a unigram model is a list, in which a token's place is its number."""
    found = json_object(directory / FILE, TEXT_MAX_BYTES)
    model = found.get("model")
    vocabulary: Any = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, Mapping):
        yield from ((str(token), number) for token, number in vocabulary.items() if type(number) is int)
    elif isinstance(vocabulary, list):
        named = (one[0] if isinstance(one, list) and one else "" for one in vocabulary)
        yield from ((str(token), number) for number, token in enumerate(named))
    added = found.get("added_tokens")
    for one in added if isinstance(added, list) else ():
        if isinstance(one, Mapping) and type(one.get("id")) is int:
            yield str(one.get("content")), one["id"]
