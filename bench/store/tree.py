"""Keep a directory as it was built: what a measured process writes into it must not reach the next one.

The manifest lists every file with its size and its time of change. Before a worker starts, new files are
deleted, and a file that was changed ends the comparison, because nobody knows any more what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError

MANIFEST = "manifest.json"
NOT_STATE = ("__pycache__",)  # compiled modules: written by the interpreter, and checked by it


def write_manifest(root: Path, to: Path) -> None:
    """Write what ``root`` holds now."""
    to.write_text(json.dumps(dict(_files(root))))


def restore(root: Path, manifest: Path) -> None:
    """Delete what is new below ``root``. Raises BenchError, and forgets the side, if a file changed."""
    known: dict[str, list[int]] = json.loads(manifest.read_text())
    found = dict(_files(root))
    for name in found.keys() - known.keys():
        (root / name).unlink()
    changed = sorted(name for name in known if found.get(name) != known[name])
    if changed:
        (manifest.parent / "complete").unlink(missing_ok=True)
        raise BenchError(
            f"what is measured has changed its own files ({changed[0]}), so the next process would start "
            "with others; it is built anew next time"
        )


def _files(root: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield (path, [size, time of change]) of every file, and of every link as such."""
    for place, directories, files in os.walk(root):
        directories[:] = [one for one in directories if one not in NOT_STATE]
        links = [one for one in directories if (Path(place) / one).is_symlink()]
        for name in (*files, *links):
            path = Path(place) / name
            state = path.lstat()
            yield str(path.relative_to(root)), [state.st_size, state.st_mtime_ns]
