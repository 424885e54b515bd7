"""Whose fault it is if a page of somebody's results cannot be made: theirs if they were edited, else ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError, IntegrityError


@contextmanager
def showing(*directories: Path) -> Iterator[None]:
    """Compute and print what was read from the results in ``directories``.

    They were read and checked before. What goes wrong from here on is a bug of ours and stays as it is, with
    one exception: if the summary of a directory is not that of its journal, somebody has edited it, and the
    IntegrityError says where. A run or load that was just measured is not given here: it is all ours.
    """
    try:
        yield
    except (BenchError, OSError):
        raise
    except Exception as bad:
        for directory in directories:
            _must_be_its_own(directory, bad)
        raise


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
