"""Define how a config refers to a model, and what a fetch returns."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.models.shrink import Size
from bench.models.weight_files import weight_files
from bench.records.grid import Grid

Stage = Literal["download", "check", "convert"]


@dataclass(frozen=True)
class Named:
    """A model with a file ``models/<name>.yaml``, which is looked for ``within`` these directories; with none
    given, in those of the working directory and of the tool."""

    name: str
    within: tuple[Path, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Hub:
    """A repository on the model hub at one commit (40 hex digits, never a branch)."""

    repo: str
    revision: str


@dataclass(frozen=True)
class LocalPath:
    """A directory with ``config.json`` and safetensors, or one ``.gguf`` file."""

    path: Path


@dataclass(frozen=True)
class Random:
    """The shape of a known model with random weights, of the size asked for; None leaves what it has. Its
    file is looked for as that of ``Named``."""

    name: str
    layers: int | None = None
    hidden: int | None = None
    experts: int | None = None
    within: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def size(self) -> Size:
        """Return the size asked for."""
        return Size(self.layers, self.hidden, self.experts)


ModelRef = Named | Hub | LocalPath | Random


def named_or_path(text: str) -> Named | LocalPath:
    """Return the model that a setting names: a path if it has a slash, else a file in models/."""
    return LocalPath(Path(text)) if "/" in text else Named(text)


def same_model(one: ModelRef, other: ModelRef) -> bool:
    """Return whether two references are known to name one model, without looking into its files."""
    if isinstance(one, Named) and isinstance(other, Named):
        return one.name == other.name
    if isinstance(one, LocalPath) and isinstance(other, LocalPath):
        return one.path.absolute() == other.path.absolute()
    return one == other


@dataclass(frozen=True)
class Progress:
    """The progress of a fetch; ``total_bytes`` is None if the size is unknown."""

    stage: Stage
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Merged:
    """An adapter and its base in words, and the SHA-256 of the weights of both."""

    words: str
    adapter_sha256: str
    base_sha256: str | None


@dataclass(frozen=True)
class SourceRecord:
    """What a result records about its model. ``weights_sha256`` is None for random weights; ``grid`` is None
    for weights that did not come from a GGUF. ``adapter`` says which adapter was merged into which base."""

    kind: Literal["package", "hub", "directory", "path", "random"]
    name: str
    location: str
    revision: str | None
    weights_sha256: str | None
    grid: Grid | None = None
    adapter: Merged | None = None


@dataclass(frozen=True)
class LocalModel:
    """A model on this disk.

    ``directory`` holds ``config.json`` and, unless ``random``, the weights and the tokenizer. ``files`` lists
    (name, SHA-256) of everything in it that is loaded; ``gguf`` is the original file, if any.
    """

    directory: Path
    source: SourceRecord
    files: tuple[tuple[str, str], ...]
    gguf: Path | None = None
    random: bool = False

    @property
    def paths(self) -> tuple[tuple[Path, str], ...]:
        """Return (path, SHA-256) of every file; a GGUF of the user's own lies elsewhere."""
        beside = {self.gguf.name: self.gguf} if self.gguf else {}
        return tuple((beside.get(name, self.directory / name), digest) for name, digest in self.files)


def is_commit(text: str) -> bool:
    """Return whether ``text`` is a full commit id: 40 hex digits, which cannot move as a branch does."""
    return re.fullmatch(r"[0-9a-f]{40}", text) is not None


def weights_digest(directory: Path, files: Iterable[tuple[str, str]]) -> str | None:
    """Return one SHA-256 for the weights that are loaded from a directory, of whose files the digests are
    given. For one safetensors file it is the file's own; for several it is that of the list of shards with
    their digests."""
    loaded = {path.relative_to(directory).as_posix() for path in weight_files(directory)}
    shards = sorted((name, digest) for name, digest in files if name in loaded)
    if len(shards) < 2:
        return shards[0][1] if shards else None
    return hashlib.sha256(os.fsencode("".join(f"{name} {digest}\n" for name, digest in shards))).hexdigest()
