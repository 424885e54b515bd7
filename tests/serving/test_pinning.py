"""Client and server pinned apart: what each gets, what a child inherits, and that it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.records.loads import sharing_words
from bench.serving.pinning import Apart, apart, split, threads_in

ASK = [sys.executable, "-c", "import os; print(*sorted(os.sched_getaffinity(0)))"]
two_processors = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one cannot be shared out")


@pytest.mark.parametrize(
    ("allowed", "threads", "found", "why"),
    [
        ({0}, 0, Apart(), "there is one processor only"),
        ({0, 1}, 0, Apart((0,), (1,)), ""),
        ({0, 1}, 1, Apart((0,), (1,)), ""),
        ({0, 1}, 2, Apart(), "a server wants 2 threads, and the client would leave it 1 processor"),
        ({2, 5, 7}, 2, Apart((2, 5), (7,)), ""),
        ({2, 5, 7}, 4, Apart(), "a server wants 4 threads, and the client would leave it 2 processors"),
    ],
)
def test_who_gets_what(
    allowed: set[int], threads: int, found: Apart, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: allowed)
    shared = split(wanted=True, threads=threads)
    assert (shared, shared.why_not) == (found, why)
    assert split(wanted=False) == Apart()
    assert (found.to_json() is None) == (found == Apart())
    assert shared.said() == ({"not_pinned": why} if why else {"pinned": found.to_json()})


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        ((), 0),
        (("--threads", "2"), 2),
        (("--threads=3", "--ctx-size", "512"), 3),
        (("-t", "1", "--threads-batch", "4"), 4),
        (("--threads",), 0),
        (("--threads", "-1"), 0),
        (("--threads", "many"), 0),
    ],
)
def test_what_an_engine_is_told_is_read_in_its_arguments(arguments: tuple[str, ...], threads: int) -> None:
    assert threads_in(arguments) == threads
    cores = Apart((0, 1, 2), (3,))
    assert cores.told("--threads", arguments) == (() if threads else ("--threads", "3"))
    assert cores.told("--threads", ("--threads-batch", "4")) == ("--threads", "3")
    assert cores.told(None, arguments) == Apart().told("--threads", arguments) == ()


def test_a_platform_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    found = split(wanted=True)
    with apart(wanted=True), found.starting(), found.sending():
        assert found == Apart()
    assert found.why_not == "this platform does not keep a process on a processor"


@pytest.mark.parametrize(
    ("found", "why", "said"),
    [
        (Apart((0, 1), (3,)).to_json(), "", "pinned apart: the server on processors 0, 1, the client on 3"),
        (None, "--no-pin", "client and server share the processors: --no-pin"),
        (None, "", ""),
    ],
)
def test_it_is_said(found: dict[str, list[int]] | None, why: str, said: str) -> None:
    assert sharing_words(found, why) == said


def childs() -> tuple[int, ...]:
    return tuple(map(int, subprocess.run(ASK, capture_output=True, text=True, check=True).stdout.split()))


@two_processors
def test_a_child_runs_apart_from_us_and_all_is_as_before() -> None:
    before = os.sched_getaffinity(0)
    with apart(wanted=True) as found:
        child = childs()
        found.go()
        assert child == found.server
        assert os.sched_getaffinity(0) == set(found.client)
        assert not set(found.server) & set(found.client)
    assert os.sched_getaffinity(0) == before
    with apart(wanted=False) as found:
        found.go()
        assert os.sched_getaffinity(0) == before


@two_processors
@pytest.mark.parametrize("side", ["server", "client"])
def test_for_a_while_only(side: str) -> None:
    before, found = os.sched_getaffinity(0), split(wanted=True)
    during = found.starting if side == "server" else found.sending

    def fails() -> None:
        with during():
            assert childs() == getattr(found, side)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert os.sched_getaffinity(0) == before
