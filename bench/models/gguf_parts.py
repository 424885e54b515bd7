"""Find all parts of a GGUF model that ``llama-gguf-split`` wrote in several files: NAME-00001-of-00003.gguf.

llama.cpp is given the first part and reads the others, if they lie beside it under these names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.models.gguf_header import check_gguf, read_header

_PART = re.compile(r"(?P<name>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<suffix>\.(?i:gguf))")
MOST_PARTS = 1000


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return every file of a model in order; a file that is a whole model is its only part."""
    found = _PART.fullmatch(path.name)
    count = 0 if found is None else min(int(found["count"]), MOST_PARTS)  # a name can say 99,999
    if found is None or not count:
        return (path,)
    end = f"-of-{found['count']}{found['suffix']}"
    return tuple(path.with_name(f"{found['name']}-{number:05}{end}") for number in range(1, count + 1))


def check_model(path: Path) -> None:
    """Check a GGUF that is to be a model: one whole file. Raises UsageError, which names a missing part."""
    _must_be_there(path, parts_of(path))
    check_gguf(path)


def _must_be_there(path: Path, parts: Sequence[Path]) -> None:
    missing = [part.name for part in parts if not part.is_file()] if len(parts) > 1 else []
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise UsageError(f"{path}: is one of {len(parts)} parts, and {missing[0]}{more} not beside it")


def check_parts(path: Path) -> None:
    """Check the header of a GGUF file and, if it is the first of several parts, of all of them.

    Raises UsageError for a part that is missing, has another place than its name says, or is no sound GGUF.
    """
    parts = parts_of(path)
    if len(parts) == 1:
        check_gguf(path)
        return
    if path != parts[0]:
        raise UsageError(f"{path}: name the first of the {len(parts)} parts, {parts[0].name}")
    _must_be_there(path, parts)
    for number, part in enumerate(parts, start=1):
        found = read_header(part)
        if (found.part, found.parts) != (number, len(parts)):
            raise UsageError(f"{part}: says that it is part {found.part} of {found.parts}")
