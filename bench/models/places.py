"""Find the files of a model that is on this machine already, without fetching or hashing anything."""

from __future__ import annotations

from pathlib import Path

from bench.models import disk_cache
from bench.models.reference import Hub, LocalPath, ModelRef, Named
from bench.models.registry import find_model


def directory_here(model: ModelRef) -> Path | None:
    """Return the directory of a model's files, or None if it must be fetched or made first.

    Raises UsageError for a name that no model has.
    """
    if isinstance(model, LocalPath):
        return model.path if model.path.is_dir() else None
    if isinstance(model, Hub):
        return _cached(f"{model.repo} {model.revision}")
    if not isinstance(model, Named):
        return None
    known = find_model(model.name, model.within)
    if known.source is None:
        return None
    if known.source.directory:
        return known.file.parent / known.source.directory.path
    if known.source.package:
        return _cached(known.source.package.cache_key(known.name))
    assert known.source.hub is not None, "a source is one of the three"
    return _cached(f"{known.source.hub.repo} {known.source.hub.revision}")


def _cached(key: str) -> Path | None:
    directory = disk_cache.model_cache_dir(key)
    return directory if disk_cache.is_complete(directory) else None
