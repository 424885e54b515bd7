"""Whose fault it is if a page of somebody's results cannot be made: theirs if they were edited, else ours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.errors import BenchError, IntegrityError


def showing(*directories: Path) -> Showing:
    """Compute and print what was read from the results in ``directories``.

    They were read and checked before. What goes wrong from here on is a bug of ours and stays as it is, with
    one exception: if the summary of a directory is not that of its journal, somebody has edited it, and the
    IntegrityError says where. A run or load that was just measured is not given here: it is all ours.
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
                _must_be_its_own(directory, error)


def _must_be_its_own(directory: Path, bad: Exception) -> None:
    """Raise IntegrityError unless the summary in ``directory`` is what its journal gives."""
    from bench.results.summary import RUN_JSON, is_run
    from bench.results.verify import verify_summary
    from bench.serving.verify import is_load, verify_load
    from bench.store.run_files import JOURNAL, PACKED

    if is_load(directory):
        verify_load(directory)
    elif is_run(directory):
        if not any((directory / name).exists() for name in (JOURNAL, PACKED)):
            raise IntegrityError(
                f"{directory / RUN_JSON}: there is no journal beside it, its figures cannot be checked, and "
                f"they do not fit together ({type(bad).__name__})"
            ) from bad
        verify_summary(directory)
