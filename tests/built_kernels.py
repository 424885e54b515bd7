"""Kernels that optimum-quanto builds at first use, kept for the next environment with the same versions."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from bench.models.disk_cache import cache_root


@pytest.fixture(scope="module")
def built_kernels() -> Iterator[None]:
    """The compiler takes half a minute, and what it makes lies in the environment. A new one reads what an
    earlier one has made, if there is one."""
    try:
        from optimum.quanto.library.extensions.cpp import ext
    except ImportError:
        yield
        return
    names = (f"quanto-{version('optimum-quanto')}", f"torch-{version('torch')}", sys.implementation.cache_tag)
    kept = cache_root() / "kernels" / "-".join(names) / f"{ext.name}.so"
    if kept.is_file() and ext._lib is None:
        ext._lib = _loaded(ext.name, kept)
    yield
    made = Path(ext.build_directory) / kept.name
    if made.is_file() and not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        Path(shutil.copy(made, kept.with_suffix(f".{os.getpid()}"))).replace(kept)


def _loaded(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
