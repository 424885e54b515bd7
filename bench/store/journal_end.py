"""Read the end of a journal without its records: the digest of its last line, and which line has a digest."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from bench.bounded import open_regular
from bench.errors import IntegrityError
from bench.formatting import MIB
from bench.store.chain import MAX_BYTES, MAX_LINE_BYTES
from bench.store.compacted import head_of
from bench.store.journal import lines_of, opened, opened_here
from bench.store.journal_place import refusing, where_it_is_now
from bench.store.packed import unpacked
from bench.store.run_files import REST, SAMPLES

FIRST_REACH = 16_384  # bytes before the end; further back only for a longer line


def last_digest(path: Path) -> str:
    """Return the digest of a journal's last complete line, without checking the lines before it.

    Lines before it are read only if the journal is packed. A compacted one says its digest, and the file with
    its numbers must be the one that was written.
    """
    with refusing(path):
        return where_it_is_now(path, _last_digest)


def _last_digest(path: Path) -> str:
    with ExitStack() as held:
        if path.name == REST:
            frames = held.enter_context(open_regular(path, follow=False))
            return head_of(unpacked(frames, MAX_BYTES), path.with_name(SAMPLES)).journal_sha256
        file = opened_here(path, held)
        if path.suffix == ".gz":
            whole = (line for line in lines_of(file, path) if line.endswith(b"\n"))
            last = b"".join(deque(whole, maxlen=1)).removesuffix(b"\n")
        else:
            last = _last_line(file, path)
    return hashlib.sha256(last).hexdigest()


def _last_line(file: BinaryIO, path: Path) -> bytes:
    """Return the last line with an end, without this end, reading backwards; nothing if there is none."""
    size, reach = file.seek(0, os.SEEK_END), FIRST_REACH
    if size > MAX_BYTES:
        raise IntegrityError(f"{path}: the journal is longer than {MAX_BYTES // MIB} MiB")
    while True:
        file.seek(max(size - reach, 0))
        ending = file.read(reach)
        end = max(ending.rfind(b"\n"), 0)
        begin = ending.rfind(b"\n", 0, end) + 1
        if begin or reach >= size:
            break
        reach *= 8
    if end - begin >= MAX_LINE_BYTES:
        raise IntegrityError(f"{path}: its last line is longer than {MAX_LINE_BYTES // MIB} MiB")
    return ending[begin:end]


def records_up_to(path: Path, digest: object) -> int | None:
    """Return the number of the line that has this digest, which is how many records it confirms; or None."""
    with opened(path) as file:
        for number, line in enumerate(lines_of(file, path), start=1):
            if line.endswith(b"\n") and hashlib.sha256(line[:-1]).hexdigest() == digest:
                return number
    return None
