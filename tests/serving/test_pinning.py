"""Client and server pinned apart: what each gets, what a child inherits, and that it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.serving.pinning import Apart, apart, split

ASK = [sys.executable, "-c", "import os; print(*sorted(os.sched_getaffinity(0)))"]


@pytest.mark.parametrize(
    ("allowed", "found"),
    [({0}, Apart()), ({0, 1}, Apart((0,), (1,))), ({2, 5, 7}, Apart((2, 5), (7,)))],
)
def test_who_gets_what(allowed: set[int], found: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: allowed)
    assert split(wanted=True) == found
    assert split(wanted=False) == Apart()
    assert (found.to_json() is None) == (found == Apart())


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor cannot be shared out")
def test_a_child_runs_apart_from_us_and_all_is_as_before() -> None:
    before = os.sched_getaffinity(0)
    with apart(wanted=True) as found:
        child = subprocess.run(ASK, capture_output=True, text=True, check=True).stdout.split()
        found.go()
        assert tuple(map(int, child)) == found.server
        assert os.sched_getaffinity(0) == set(found.client)
        assert not set(found.server) & set(found.client)
    assert os.sched_getaffinity(0) == before
    with apart(wanted=False) as found:
        found.go()
        assert os.sched_getaffinity(0) == before
