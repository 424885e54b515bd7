"""Check the files of a model directory that a loader opens by name: it would wait for a FIFO, and read a
device without end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from bench.bounded import open_regular, why
from bench.errors import UsageError
from bench.formatting import MIB
from bench.models.json_files import CONFIG_MAX_BYTES

# Weights, configs and templates; then vocabularies, as the tokenizers of transformers name them.
MODEL_FILES = (
    "*.safetensors", "*.json", "*.jinja", "*.txt", "*.tiktoken", "*.spm", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "spm_char.model", "tiktoken.model",
    "bpe.codes", "prophetnet.tokenizer",
)  # fmt: skip
POOLING = "1_Pooling/config.json"  # how sentence-transformers makes one vector of a text
TEMPLATES = "additional_chat_templates"  # a directory within that of the model
TEXT_MAX_BYTES = 64 * MIB  # a tokenizer, an index, a vocabulary
MOST_BESIDE = 1024 * MIB  # of all files that are no weights: a run reads and notes all of them
MOST_ENTRIES = 20_000  # of a directory, whatever they are
MOST_SHOWN = 120
OF_THE_KERNEL = ("/proc/", "/sys/")  # they say that they are regular, and may wait or have no end
MOST_FILES = 5_000  # that a loader would open: the largest models have some hundred


def model_files(directory: Path) -> list[Path]:
    """Return what a loader would open in a model directory, sorted; it may be a link or no file at all.

    Raises UsageError for more entries, or more such files, than the directory of any model has, and for a
    name that cannot be printed. Raises OSError if the directory cannot be read.
    """
    found = [path for path in _entries(directory) if any(fnmatch(path.name, name) for name in MODEL_FILES)]
    templates = directory / TEMPLATES
    if templates.is_dir():
        found += [path for path in _entries(templates) if path.suffix == ".jinja"]
    if os.path.lexists(directory / POOLING):
        found.append(directory / POOLING)
    for path in found:
        if not path.name.isprintable():  # half of a letter has no digest, and two lines are no name
            raise UsageError(f"{directory}: the name {ascii(path.name)[:MOST_SHOWN]} cannot be printed")
    if len(found) > MOST_FILES:
        raise UsageError(f"{directory}: {len(found)} files with the names of a model's: no model has so many")
    return sorted(found)


def _entries(directory: Path) -> Iterator[Path]:
    """Yield what is in a directory. Raises UsageError if that is more than in the directory of any model."""
    with os.scandir(directory) as entries:
        for entry in islice(entries, MOST_ENTRIES):
            yield directory / entry.name
        if next(entries, None) is not None:
            raise UsageError(f"{directory}: holds more than {MOST_ENTRIES} files, so it is none of a model")


def copy_files(files: Iterable[Path], home: Path, to: Path) -> None:
    """Copy files of a model from below ``home`` to the same places below ``to``: further templates have a
    directory of their own."""
    for file in files:
        copy = to / file.relative_to(home)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy2(file, copy)


def check_files(directory: Path) -> None:
    """Refuse what a loader would wait for, or read without end. Raises UsageError."""
    try:
        wanted = model_files(directory)
    except OSError as bad:
        raise UsageError(f"{directory}: {why(bad)}") from None
    beside = 0
    for path in wanted:
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
        except OSError as bad:
            raise UsageError(f"{path}: {why(bad)}") from None
        if str(path.resolve()).startswith(OF_THE_KERNEL):
            raise UsageError(f"{path}: is a file of the kernel, and none of a model")
        if path.suffix == ".safetensors":
            continue
        most = CONFIG_MAX_BYTES if path.suffix == ".jinja" else TEXT_MAX_BYTES
        if size > most:
            raise UsageError(f"{path}: is larger than {most // MIB} MiB")
        beside += size
    if beside > MOST_BESIDE:
        raise UsageError(
            f"{directory}: the files beside the weights have {beside // MIB} MiB together, more than "
            f"{MOST_BESIDE // MIB} MiB, which no model has"
        )
