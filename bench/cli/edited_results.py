"""Distinguish a bug of ``bench`` from edited results, when stored results cannot be shown."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.errors import BenchError, IntegrityError


def showing(*directories: Path) -> Showing:
    """Run a block that computes and prints the results in ``directories``, which were checked before.

    An unexpected error in the block is a bug, and is raised unchanged, with one exception. If the summary of
    a directory does not agree with its journal, somebody has edited it, and IntegrityError is raised instead,
    which says where. Do not use this for results that were just measured: nobody can have edited them.
    """
    return Showing(directories)


@dataclass(frozen=True)
class Showing(AbstractContextManager[None]):
    """The context manager of ``showing``. It lets an exception pass, or puts another one in its place."""

    directories: tuple[Path, ...]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, BenchError | OSError):
            for directory in self.directories:
                _require_unedited(directory, error)


def _require_unedited(directory: Path, bad: Exception) -> None:
    """Raise IntegrityError unless the summary in ``directory`` is what its journal gives."""
    from bench.results.summary import RUN_JSON, is_run
    from bench.results.verify import verify_summary
    from bench.serving.load_verification import is_load, verify_load
    from bench.store.run_files import JOURNALS

    if is_load(directory):
        verify_load(directory)
    elif is_run(directory):
        if not any((directory / name).exists() for name in JOURNALS):
            raise IntegrityError(
                f"{directory / RUN_JSON}: there is no journal beside it, its figures cannot be checked, and "
                f"they do not fit together ({type(bad).__name__})"
            ) from bad
        verify_summary(directory)
