"""Keep a directory as it was built, so that files that a measured process writes do not reach the next one.

The manifest lists every file with its size and modification time. Before a worker starts, new files are
deleted. A changed file ends the comparison, because it is then not known any more what is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError

MANIFEST = "manifest.json"
NOT_STATE = ("__pycache__",)  # the interpreter writes compiled modules, and checks them itself


def write_manifest(root: Path, to: Path) -> None:
    """Write the manifest of ``root`` as it is now to the file ``to``."""
    to.write_text(json.dumps(dict(_files(root))))


def restore(root: Path, manifest: Path) -> None:
    """Delete the new files below ``root``.

    If a file of the manifest changed, raise BenchError and mark the side as incomplete, so that it is built
    again.
    """
    as_built: dict[str, list[int]] = json.loads(manifest.read_text())
    present = dict(_files(root))
    for name in present.keys() - as_built.keys():
        (root / name).unlink()
    changed = sorted(name for name in as_built if present.get(name) != as_built[name])
    if changed:
        (manifest.parent / "complete").unlink(missing_ok=True)
        raise BenchError(
            f"a measured process changed its own files ({changed[0]}), so the next process would start with "
            "other files; they are built again next time"
        )


def _files(root: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield (path, [size, modification time in ns]) of every file and link; links are not followed."""
    for place, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name not in NOT_STATE]
        links = [name for name in directories if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(place) / name
            state = path.lstat()
            yield str(path.relative_to(root)), [state.st_size, state.st_mtime_ns]
