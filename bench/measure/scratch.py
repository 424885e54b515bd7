"""Give temporary files and a cache of its own to a process that runs the code of a commit.

Answers that one process keeps there would make the other side of its pair, and all later units, cheap. What
was downloaded stays where it is: models of the hub, of torch and of this tool. What torch compiles for a side
is kept for it, because it is found by its source.
"""

from __future__ import annotations

import hashlib
import os

from bench.models.disk_cache import cache_root
from bench.store.scratch_directory import ScratchDirectory


class Scratch:
    """The directories of one process that stands in ``directory``; there are none if that is None."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._home: ScratchDirectory | None = None

    def make(self) -> dict[str, str]:
        """Make the directories, and return the variables that tell the process of them."""
        if self._directory is None:
            return {}
        self._home = ScratchDirectory("side")
        places = {"TMPDIR": self._home.path / "tmp", "XDG_CACHE_HOME": self._home.path / "cache"}
        for place in places.values():
            place.mkdir()
        side = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16]
        return {
            **{name: str(place) for name, place in places.items()},
            **_downloaded(),
            "TORCH_EXTENSIONS_DIR": str(cache_root() / "compiled" / "extensions" / side),
        }

    def remove(self) -> None:
        """Delete them with all that the process has left there."""
        if self._home is not None:
            self._home.delete()
            self._home = None


def _downloaded() -> dict[str, str]:
    """Return where downloaded models are: where a variable says, else in the user's own cache."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - never raises
    return {
        "HF_HOME": os.environ.get("HF_HOME") or f"{caches}/huggingface",
        "TORCH_HOME": os.environ.get("TORCH_HOME") or f"{caches}/torch",
        "BENCH_CACHE": str(cache_root()),
    }
