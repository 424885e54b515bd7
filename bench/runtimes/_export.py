"""Keep a checkpoint in the format of another engine, so that it is written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.models.weight_files import weight_files


def kept_export(directory: Path, begin: str, end: str, build: Callable[[Path], None]) -> Path:
    """Return the entry of the cache that ``build`` makes from the config and the weights in ``directory``.

    Its key is their digests between ``begin`` and ``end``, which name the format and what writes it. Raises
    UsageError if a file changed meanwhile.
    """
    from bench.models.disk_cache import file_sha256, fill, of_files

    config, *weights = files = (directory / "config.json", *weight_files(directory))
    read = {path: file_sha256(path) for path in files}
    key = f"{begin} {read[config]} {''.join(read[path] for path in weights)} {end}"
    return fill(key, of_files(read, build))
