"""Keep directories as they were built, so that files that a measured process writes do not reach the next.

The manifest lists every file with its size and modification time, and every link with its target. Before a
worker starts, new files are deleted. A changed file ends the comparison, because it is then not known any
more what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.store.directories import walk

MANIFEST = "manifest.json"
NOT_STATE = ("__pycache__",)  # the interpreter writes compiled modules, and checks them itself


def write_manifest(home: Path, directories: Sequence[str]) -> None:
    """Write the manifest of some directories of ``home`` as they are now to its file ``MANIFEST``."""
    as_built = {directory: dict(_files(home / directory)) for directory in directories}
    (home / MANIFEST).write_text(json.dumps(as_built))


def restore(home: Path) -> None:
    """Delete the new files in the directories of the manifest of ``home``.

    If a file of the manifest changed, raise BenchError and mark the side as incomplete, so that it is built
    again.
    """
    as_built: dict[str, dict[str, list[object]]] = json.loads((home / MANIFEST).read_text())
    for directory, files in as_built.items():
        present = dict(_files(home / directory))
        for name in present.keys() - files.keys():
            (home / directory / name).unlink()
        changed = sorted(name for name in files if present.get(name) != files[name])
        if changed:
            (home / "complete").unlink(missing_ok=True)
            raise BenchError(
                f"a measured process changed its own files ({changed[0]}), so the next process would start "
                "with other files; they are built again next time"
            )


def _files(root: Path) -> Iterator[tuple[str, list[object]]]:
    """Yield (path, [size, modification time in ns]) of every file, and (path, [target]) of every link; links
    are not followed."""
    for place, directories, files in walk(root):
        directories[:] = [name for name in directories if name not in NOT_STATE]
        for name in files:
            path = place / name
            state = path.lstat()
            what: list[object] = [state.st_size, state.st_mtime_ns]
            yield str(path.relative_to(root)), [str(path.readlink())] if path.is_symlink() else what
