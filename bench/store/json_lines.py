"""Read a user's file of JSON lines, line by line and within bounds."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

from bench.bounded import MOST, Contents, open_regular
from bench.formatting import MIB
from bench.store.files import strict_json

MOST_LINES_BYTES = 1024 * MIB  # of all lines together


def json_lines(
    path: Path,
    most: int,
    noun: str,
    line_bytes: int,
    contents: Contents = MOST,
    most_bytes: int = MOST_LINES_BYTES,
) -> Iterator[tuple[str, object]]:
    """Yield (FILE:LINE, value) for each line of a user's file of JSON lines, which messages call ``noun``.

    Raises OSError if it is not a regular file. Raises ValueError with FILE:LINE for more than ``most`` lines,
    for a line of ``line_bytes`` or with more than ``contents``, for invalid JSON, and for ``most_bytes``.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise ValueError(f"{path}: is larger than {most_bytes // MIB} MiB")
        for number, line in enumerate(iter(lambda: file.readline(line_bytes), b""), start=1):
            where = f"{path}:{number}"
            if number > most:
                raise ValueError(f"{where}: more than {most} {noun}")
            if len(line) == line_bytes:
                raise ValueError(f"{where}: a line of {line_bytes // MIB} MiB or more")
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            try:
                value = strict_json(line, contents)
            except ValueError as bad:
                words = f"not JSON ({bad})" if line.strip() else "an empty line"
                raise ValueError(f"{where}: {words}") from None
            yield where, value
