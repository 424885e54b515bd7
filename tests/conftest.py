"""Makes ``fakes`` importable from every test directory (pytest puts this file's directory on the path)."""

from __future__ import annotations

import os

import pytest

from bench.machine import noise

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as processors: torch takes one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _nobody_else_counts(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tests share the machine: no pass of theirs is void because of it. ``test_noise.py`` tests the rule."""
    if request.module.__name__ != "test_noise":
        monkeypatch.setattr(noise, "disturbed", lambda before, after, accepted=0.0: False)
        monkeypatch.setattr(noise, "stolen", lambda before, after: False)
