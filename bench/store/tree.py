"""Keep directories as they were built, so that files that a measured process writes do not reach the next.

The manifest lists every file with its size and modification time, and every link with its target. Before a
worker starts, new files are deleted. A changed file ends the comparison, because it is then not known any
more what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bench.errors import Outcome, VariantFailed
from bench.formatting import count, one_line
from bench.store.directories import walk

MANIFEST = "manifest.json"
MOST_NAMED = 5  # changed files; the rest is counted
NOT_STATE = ("__pycache__",)  # the interpreter writes compiled modules, and checks them itself


def write_manifest(home: Path, directories: Sequence[str]) -> None:
    """Write the manifest of some directories of ``home`` as they are now to its file ``MANIFEST``."""
    as_built = {directory: dict(_files(home / directory)) for directory in directories}
    (home / MANIFEST).write_text(json.dumps(as_built))


def restore(home: Path) -> None:
    """Delete the new files in the directories of the manifest of ``home``.

    If a file of the manifest changed, raise VariantFailed and mark the side as incomplete, so that it is
    built again.
    """
    as_built: dict[str, dict[str, list[object]]] = json.loads((home / MANIFEST).read_text())
    for directory, files in as_built.items():
        present = dict(_files(home / directory))
        for name in present.keys() - files.keys():
            (home / directory / name).unlink()
        changed = sorted(name for name in files if present.get(name) != files[name])
        if changed:
            (home / "complete").unlink(missing_ok=True)
            raise VariantFailed(Outcome.RUN_ERROR, _what_to_do(changed, present))


def _what_to_do(changed: Sequence[str], present: Collection[str]) -> str:
    """Say which files a measured process has changed or deleted, and how it can go on without that."""
    told = [
        f"{one_line(name)} was {'changed' if name in present else 'deleted'}" for name in changed[:MOST_NAMED]
    ]
    if len(changed) > MOST_NAMED:
        told.append(f"and {count(len(changed) - MOST_NAMED, 'more file')}")
    return (
        f"a measured process changed its own files ({', '.join(told)}), so the next process would not start "
        "as this one did. Let the code read such a file only, or work on a copy of it in a temporary "
        "directory (TMPDIR, which is new for every process); a file that is not in the commit may be "
        "written, and is deleted before the next process starts. The side is built again next time"
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
