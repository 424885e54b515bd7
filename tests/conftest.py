"""Makes ``fakes`` importable from every test directory (pytest puts this file's directory on the path)."""

from __future__ import annotations

import gc
import os
import re
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from warm import warm, warm_cloud, warm_fake, warm_workers

from bench.machine import noise
from bench.results import verify
from bench.runs import run
from bench.store.source import source_digest
from bench.worker import session

__all__ = ["warm", "warm_cloud", "warm_fake", "warm_workers"]  # fixtures

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as processors: torch takes one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests run side by side, and what they measure is data: none waits for another. The lock's tests name a file.
os.environ["BENCH_MACHINE_LOCK"] = "none"
# Words of a file whose tests start processes, and so take seconds each.
STARTS = re.compile(
    r"\b(subprocess|run_spec|gate_spec|judged|WorkerProcess|Warm|warm_workers|repositories|ray|run_there)\b"
)
# Of one whose tests load a model or draw a hundred inputs each: a file of ten tests may take ten seconds.
LONG = re.compile(r"\b(import (torch|transformers)|hypothesis)\b")
READ_ONCE = cache(source_digest)
# An example that takes long says that the machine is busy. A test with a limit of its own keeps it.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """The files keep the order in which they were collected, see below."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is made while tests are collected is garbage, and to look for it again and again among a
    million new objects takes ten of 24 seconds in each process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # else the first collection would look through all of it
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, files that start processes come first, then those with an engine in them, then the many
    quick ones: so no process of pytest-xdist is still at work on a long file when the others have nothing
    left."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        sizes = Counter(item.path for item in items)
        turns = {path: _turn(path.read_text()) for path in sizes}
        items.sort(key=lambda item: (turns[item.path], -sizes[item.path], item.path))


def _turn(source: str) -> int:
    """When a file's turn is: 0 is first."""
    return 0 if STARTS.search(source) else 1 if LONG.search(source) else 2


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_is_no_garbage() -> None:
    """Garbage is collected before what is timed, and after a model is loaded. A worker has little to look at;
    here it is a million objects of engines and tests, for a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def garbage_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load collects garbage first, and thaws what was frozen: in a process that has run thousands of tests
    this takes half a second a load."""
    monkeypatch.setattr("bench.serving.load._no_collection", nullcontext)


@pytest.fixture(scope="module")
def patch_of_module() -> Iterator[pytest.MonkeyPatch]:
    """Patches that every test of a file wants: to make them for each test would take seconds in all."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module", autouse=True)
def _nobody_else_counts(patch_of_module: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tests share the machine: no pass of theirs is void because of it. ``test_noise.py`` tests the rule, and
    ``measure/test_row.py`` what follows from it."""
    if request.module.__name__ != "test_noise":
        patch_of_module.setattr(noise, "disturbed", lambda before, after, accepted=0.0: False)
        patch_of_module.setattr(noise, "stolen", lambda before, after: False)


@pytest.fixture(scope="module", autouse=True)
def _no_disk_is_waited_for(patch_of_module: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A run syncs its journal some fifty times, and no test cuts the power. A command in another process does
    sync; what becomes of a sync that fails is tested in ``store`` and in ``runs/test_faults.py``."""
    if request.path.parent.name != "store":
        patch_of_module.setattr(os, "fsync", lambda fd: None)


@pytest.fixture(scope="module", autouse=True)
def _nobody_edits_the_harness(patch_of_module: pytest.MonkeyPatch) -> None:
    """Each run, and each look at one, reads all files of the package: here it is done once for a process."""
    for module in (run, verify):
        patch_of_module.setattr(module, "source_digest", READ_ONCE)


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_hidden(patch_of_module: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A worker loads one model; tests load many in one process, and transformers remembers for good what it
    did not find when it was imported. ``worker/test_session.py`` tests what is hidden."""
    if request.module.__name__ != "test_session":
        patch_of_module.setattr(session, "_hidden", lambda packages: nullcontext())
