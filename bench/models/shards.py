"""Check that the safetensors files of a model agree with each other and with their index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import MIB, one_line
from bench.models.safetensors_header import TensorEntry, header_bytes, safetensors_header
from bench.models.weight_files import INDEX, WHOLE

MOST_HEADERS = 32 * MIB  # of all files; the names of the 140,000 tensors of Kimi K2 need less than 24
MOST_SHOWN = 120

Headers = Mapping[str, Mapping[str, TensorEntry]]


def read_headers(files: Sequence[Path]) -> dict[str, dict[str, TensorEntry]]:
    """Return the header of each file by the file's name.

    Raises UsageError for one that is not sound, and if all of them are longer than those of any model.
    """
    if sum(map(header_bytes, files)) > MOST_HEADERS:
        raise UsageError(
            f"{files[0].parent}: the headers of {len(files)} safetensors files have more than "
            f"{MOST_HEADERS // MIB} MiB together, which no model has"
        )
    return {path.name: safetensors_header(path) for path in files}


def check_shards(
    directory: Path, headers: Headers, index: Mapping[str, Any] | None, *, packed: bool = False
) -> None:
    """Raise UsageError for weights that are ambiguous or not complete.

    ``index`` is the content of the index; None without one. No two files of the model may hold a tensor of
    one name. All that the index names must be there, unless weights were ``packed`` since it was written.
    """
    files: Iterable[str] = headers if index is None else _named(directory, headers, index, packed=packed)
    where: dict[str, str] = {}
    for file in sorted(files) if WHOLE not in headers else ():
        for name in headers[file]:
            if name in where:
                both = " and in ".join(_short(one) for one in (where[name], file))
                raise UsageError(f"{directory}: {_short(name)} is in {both}: remove one of these files")
            where[name] = file


def _named(directory: Path, headers: Headers, index: Mapping[str, Any], *, packed: bool) -> set[str]:
    """Return the files that an index names. Raises UsageError for one that does not fit the files."""
    place, named = directory / INDEX, index.get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise UsageError(f"{place}: weight_map does not give a file for each tensor")
    if lost := sorted(set(named.values()) - headers.keys()):
        raise UsageError(f"{directory}: the index names {_short(lost[0])}, which is not there")
    if not isinstance(index.get("metadata"), dict):
        raise UsageError(f"{place}: metadata is not a block, and a loader reads it: write {{}} for none")
    files = set(named.values())
    held: set[str] = set().union(*(headers[file] for file in files))
    if not packed and (absent := sorted(named.keys() - held)):
        more = f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
        raise UsageError(f"{place}: {_short(absent[0])}{more} in none of the files that it names")
    return files


def _short(name: str) -> str:
    return one_line(name)[:MOST_SHOWN]
