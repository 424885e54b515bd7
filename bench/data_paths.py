"""Find the directories that hold configs, prices and model files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from contextvars import ContextVar
from pathlib import Path

# The top of a repository, and the checkout of one of its commits that stands in its place.
_CHECKOUT: ContextVar[tuple[Path, Path] | None] = ContextVar("checkout", default=None)


def data_directories(kind: str) -> tuple[Path, ...]:
    """Return the existing directories of ``kind`` (``"models"``, ``"configs/prices"``), in search order.

    They are below the working directory, the repository around an editable install, and the data inside an
    installed wheel.
    """
    package = Path(__file__).resolve().parent
    around = [_of_commit(package.parent)] if (package.parent / "pyproject.toml").is_file() else []
    candidates = [(base / kind).resolve() for base in (Path.cwd(), *around, package / "_data")]
    return tuple(path for path in dict.fromkeys(candidates) if path.is_dir())


@contextmanager
def standing_in(directory: Path, repository: Path, checkout: Path) -> Iterator[None]:
    """Make ``directory`` the working directory, and the checkout of a commit that it lies in the place of the
    repository: a tool that is installed from that repository finds the files of the commit, too."""
    token = _CHECKOUT.set((repository.resolve(), checkout))
    try:
        with chdir(directory):
            yield
    finally:
        _CHECKOUT.reset(token)


def _of_commit(place: Path) -> Path:
    found = _CHECKOUT.get()
    if found is None or not place.is_relative_to(found[0]):
        return place
    return found[1] / place.relative_to(found[0])
