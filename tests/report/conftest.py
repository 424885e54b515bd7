"""Sample runs for the tests of this directory."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _load_sample() -> ModuleType:
    """``sample.py`` beside this file, without a search path."""
    spec = importlib.util.spec_from_file_location("report_sample", Path(__file__).with_name("sample.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SAMPLE = _load_sample()


@pytest.fixture
def sample() -> ModuleType:
    """The builder of sample runs."""
    return _SAMPLE


@pytest.fixture(params=_SAMPLE.HOSTILE.values(), ids=_SAMPLE.HOSTILE.keys())
def hostile_text(request: pytest.FixtureRequest) -> str:
    """Text that means harm somewhere."""
    return str(request.param)
