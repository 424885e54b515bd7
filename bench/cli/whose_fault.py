"""Distinguish a bug of ``bench`` from edited results, when stored results cannot be shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import BenchError, IntegrityError


@contextmanager
def showing(*directories: Path) -> Iterator[None]:
    """Run a block that computes and prints the results in ``directories``, which were checked before.

    An unexpected error in the block is a bug, and is raised unchanged, with one exception. If the summary of
    a directory does not agree with its journal, somebody has edited it, and IntegrityError is raised instead,
    which says where. Do not use this for results that were just measured: nobody can have edited them.
    """
    try:
        yield
    except (BenchError, OSError):
        raise
    except Exception as bad:
        for directory in directories:
            _require_unedited(directory, bad)
        raise


def _require_unedited(directory: Path, bad: Exception) -> None:
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
