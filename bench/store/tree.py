"""Keep directories as they were built: what a measured process writes there must not reach the next one.

The manifest lists every file with its size and its time of change, and every link with its target. Before a
worker starts, new files are deleted, and a file that was changed ends the comparison, because nobody knows
any more what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError

MANIFEST = "manifest.json"
NOT_STATE = ("__pycache__",)  # compiled modules: written by the interpreter, and checked by it


def write_manifest(home: Path, directories: Sequence[str]) -> None:
    """Write what some directories of ``home`` hold now, in its file ``MANIFEST``."""
    found = {directory: dict(_files(home / directory)) for directory in directories}
    (home / MANIFEST).write_text(json.dumps(found))


def restore(home: Path) -> None:
    """Delete what is new in the directories of the manifest of ``home``. Raises BenchError, and forgets the
    side, if a file changed."""
    known: dict[str, dict[str, list[object]]] = json.loads((home / MANIFEST).read_text())
    for directory, files in known.items():
        found = dict(_files(home / directory))
        for name in found.keys() - files.keys():
            (home / directory / name).unlink()
        changed = sorted(name for name in files if found.get(name) != files[name])
        if changed:
            (home / "complete").unlink(missing_ok=True)
            raise BenchError(
                f"what is measured has changed its own files ({changed[0]}), so the next process would start "
                "with others; it is built anew next time"
            )


def _files(root: Path) -> Iterator[tuple[str, list[object]]]:
    """Yield (path, [size, time of change]) of every file, and (path, [target]) of every link."""
    for place, directories, files in os.walk(root):
        directories[:] = [one for one in directories if one not in NOT_STATE]
        links = [one for one in directories if (Path(place) / one).is_symlink()]
        for name in (*files, *links):
            path = Path(place) / name
            state = path.lstat()
            what: list[object] = [state.st_size, state.st_mtime_ns]
            yield str(path.relative_to(root)), [str(path.readlink())] if path.is_symlink() else what
