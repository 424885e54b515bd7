"""Write a report to the place that ``bench report -o`` names, or print it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.formatting import one_line
from bench.store.files import naming, write_atomic_bytes


def write_report(content: bytes | str, output: Path | None, many: bool, name: str) -> None:
    """Write a report to the file ``output``, to ``name`` in it if it is a directory, or to stdout.

    In a directory, which may be that of a run from elsewhere, a link or a FIFO called ``name`` is replaced
    and not written through. A file that the user names may be anything, such as /dev/stdout. Raises
    UsageError if it cannot be written.
    """
    if output is None:
        if isinstance(content, bytes):
            raise UsageError("this format is binary: -o FILE")
        print(content, end="" if content.endswith("\n") else "\n")  # JSON lines have no empty last line
        return
    data = content.encode() if isinstance(content, str) else content
    target = output / name if many or output.is_dir() else output
    with naming("write", target, failed=UsageError):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target is output:
            target.write_bytes(data)
    if target is not output:
        _replace(target, data)
    print(one_line(f"wrote {target}"), file=sys.stderr)


def _replace(path: Path, data: bytes) -> None:
    try:
        write_atomic_bytes(path, data)
    except BenchError as bad:
        raise UsageError(str(bad)) from None
