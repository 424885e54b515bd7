"""Find out from its files alone whether a model directory or a GGUF file brings a chat template."""

from __future__ import annotations

from pathlib import Path

from bench.models.files import TEMPLATES, TEXT_MAX_BYTES
from bench.models.gguf_header import read_header
from bench.models.json_files import json_object
from bench.models.lora import config_directory, is_adapter

# A tokenizer reads no chat_template.json: that is the file of a processor.
FILES = ("chat_template.jinja", f"{TEMPLATES}/default.jinja")
SETTINGS = "tokenizer_config.json"
DEFAULT = "default"
# The files of which a tokenizer has at least one, in any of the formats that transformers reads. Its settings
# are not enough: transformers makes a tokenizer without words of them.
TOKENIZERS = (
    "tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "prophetnet.tokenizer", "tekken.json",
)  # fmt: skip
WITHOUT_FILES = ("ByT5Tokenizer", "CanineTokenizer", "DiaTokenizer", "PerceiverTokenizer")  # they read bytes


def has_template(path: Path) -> bool:
    """Return whether a chat message would be put into a template; if not, it is read as plain text.

    Raises UsageError for files that cannot be read.
    """
    if path.is_file():
        return read_header(path).chat_template
    places = [path, config_directory(path)] if is_adapter(path) else [path]
    return any(_beside(place) for place in places)


def without_default(path: Path) -> tuple[str, ...]:
    """Return the names of a directory's chat templates if none is the default, which a message would need;
    none if one is, and if there are no templates with names. Files count before settings, as in transformers.
    """
    if not path.is_dir():
        return ()
    for place in [path, config_directory(path)] if is_adapter(path) else [path]:
        if names := _in_files(place) or _in_settings(place / SETTINGS):
            return () if DEFAULT in names else names
    return ()


def _in_files(directory: Path) -> tuple[str, ...]:
    found = sorted(file.stem for file in (directory / TEMPLATES).glob("*.jinja"))
    return tuple([DEFAULT, *found] if (directory / FILES[0]).is_file() else found)


def _in_settings(settings: Path) -> tuple[str, ...]:
    held = json_object(settings, TEXT_MAX_BYTES).get("chat_template") if settings.is_file() else None
    named = held if isinstance(held, list) else []
    return tuple(str(one["name"]) for one in named if isinstance(one, dict) and "name" in one)


def has_tokenizer(directory: Path, files: tuple[str, ...] = TOKENIZERS) -> bool:
    """Return whether a model directory has one of the files of a tokenizer, or the base of an adapter has."""
    places = {directory, config_directory(directory)}
    if any((place / name).exists() for place in places for name in files):
        return True
    return files == TOKENIZERS and any(_class(place / SETTINGS) in WITHOUT_FILES for place in places)


def tokenizer_class_of(directory: Path) -> object:
    """Return the class of tokenizer that the settings of a model directory name, or None."""
    places = (directory, config_directory(directory))
    return next((named for place in places if (named := _class(place / SETTINGS)) is not None), None)


def _class(settings: Path) -> object:
    if not settings.is_file():
        return None
    return json_object(settings, TEXT_MAX_BYTES).get("tokenizer_class")


def _beside(directory: Path) -> bool:
    if any((directory / name).is_file() for name in FILES):
        return True
    settings = directory / SETTINGS
    return settings.is_file() and bool(json_object(settings, TEXT_MAX_BYTES).get("chat_template"))
