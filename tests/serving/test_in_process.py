"""An engine in process: the times are those of its steps, and a failure is a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stepping_engine import ROOM, VOCABULARY, Fake

from bench.config.reader import read_config
from bench.errors import BenchError
from bench.metrics.output_drift import KLD
from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec
from bench.serving import engines
from bench.serving import server as servers
from bench.serving.address import ENGINE, Address
from bench.serving.arrivals import ClosedLoop, OpenLoop, Schedule
from bench.serving.client import Client, Settings, fetch
from bench.serving.distributions import Asker, whole_route
from bench.serving.engines import ADAPTERS, in_process
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.greedy_replies import answers, replies
from bench.serving.inside.desk import Desk
from bench.serving.load import Load, load, run
from bench.serving.prompts import by_words, tokenizer_of
from bench.serving.reply import Asked
from bench.serving.server import started
from bench.serving.target import Target
from bench.serving.wire import Wire, new_place

PROGRAM = Path(__file__).with_name("stepping_engine.py")
STEP_S = 0.02
WHOLE = {"ignore_eos": True}


def settings(place: str, **more: object) -> Settings:
    given: dict[str, object] = {"extra": WHOLE, **more}
    return Settings(Address(ENGINE, place, 0), "fake", **given)  # type: ignore[arg-type]


@contextlib.contextmanager
def answering(line: bytes) -> Iterator[str]:
    """An engine that answers its first request with this line, and closes the connection."""
    place = new_place()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{place}")
        listening.listen()

        def answer() -> None:
            accepted, _ = listening.accept()
            accepted.recv(4096)
            accepted.sendall(line)
            accepted.close()

        threading.Thread(target=answer, daemon=True).start()
        yield place


@contextlib.contextmanager
def serving(engine: Fake) -> Iterator[str]:
    """A desk in a thread of this process, which lasts as long as the process."""
    place = new_place()

    def serve() -> None:
        with contextlib.suppress(RuntimeError):
            Desk(engine).serve(place)

    threading.Thread(target=serve, daemon=True).start()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(f"\0{place}")
            break
        time.sleep(0.01)
    yield place


def loaded(place: str, schedule: Schedule, asked: list[Asked], **more: object) -> Load:
    return run(load(settings(place, **more), schedule, asked))


def steps_of(place: str) -> dict[str, int]:
    return run(Target(settings(place), {}).steps())


def test_all_sequences_of_a_step_have_its_time() -> None:
    with serving(Fake(STEP_S)) as place:
        done = loaded(place, OpenLoop((0.0,) * 4, "all at once"), by_words([(3, 5)] * 4, 1))
        counted = steps_of(place)
    assert [one.status for one in done.samples] == ["ok"] * 4
    assert {one.n_out for one in done.samples} == {5}
    assert {one.input_tokens for one in done.samples} == {3}
    assert all(one.verified and one.counted == "token ids" and one.n_cached == 1 for one in done.samples)
    assert {one.http_status for one in done.samples} == {None}
    assert counted["most_at_once"] == 4, "they were in one batch"
    assert counted["not_ended"] == 0
    # A request that came within the first step waits for the next one; from there on they share every step.
    shared = set.intersection(*(set(one.events_ns) for one in done.samples))
    assert len(shared) >= 4
    for one in done.samples:
        assert len(one.events_ns) == 5
        assert one.end_ns == one.events_ns[-1]
        assert min(one.gaps_ms()) >= 1000 * STEP_S


def test_a_batch_that_is_full_makes_requests_wait() -> None:
    with serving(Fake(STEP_S, most_at_once=1)) as place:
        done = loaded(place, OpenLoop((0.0,) * 3, "all at once"), by_words([(3, 2)] * 3, 1))
        assert steps_of(place)["most_at_once"] == 1
    firsts = sorted(one.ttft_ms for one in done.samples)
    assert firsts[1] - firsts[0] >= 1900 * STEP_S
    assert firsts[2] - firsts[1] >= 1900 * STEP_S


def test_users_of_a_closed_loop_wait_for_their_answers() -> None:
    with serving(Fake(STEP_S)) as place:
        done = loaded(place, ClosedLoop(2, 6), by_words([(3, 2)] * 6, 1))
        assert steps_of(place)["most_at_once"] == 2
    assert all(one.ok for one in done.samples)
    spans = [(one.sent_ns, one.end_ns) for one in done.samples]
    most = max(sum(begin < at <= end for begin, end in spans) for at, _ in ((e, 0) for _, e in spans))
    assert most <= 2


def test_a_request_that_does_not_fit_fails_with_its_reason_and_the_others_go_on() -> None:
    with serving(Fake()) as place:
        done = loaded(place, ClosedLoop(1, 3), by_words([(3, 2), (ROOM, 2), (3, 2)], 1))
    assert [one.status for one in done.samples] == ["ok", "failed", "ok"]
    assert done.samples[1].reason == f"there is room for {ROOM} tokens"


def test_a_suite_item_that_is_refused_has_no_answer() -> None:
    with serving(Fake()) as place:
        found = run(answers(settings(place), ["one two", "word " * ROOM], 3))
    assert [one.text for one in found] == ["t2 t3 t4", ""]
    assert f"room for {ROOM}" in found[1].refused
    assert found[0].cut


def test_what_a_user_says_goes_through_the_template() -> None:
    with serving(Fake()) as place:
        (found,) = run(replies(settings(place, api="chat"), ["one two"], 1))
    assert found.text == "t3", "the template adds a token"


def test_a_request_that_takes_too_long_is_dropped_by_the_engine() -> None:
    with serving(Fake(STEP_S)) as place:
        done = loaded(place, ClosedLoop(1, 1), by_words([(3, 90)], 1), timeout_s=3 * STEP_S)
        assert "no end within 0.06 s" in done.samples[0].reason
        assert soon(lambda: steps_of(place)["not_ended"] == 0)
        assert soon(lambda: not steps_go_on(place))


def steps_go_on(place: str) -> bool:
    before = steps_of(place)["steps"]
    time.sleep(5 * STEP_S)
    return steps_of(place)["steps"] > before


def soon(is_so: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def test_what_was_asked_over_a_connection_that_is_gone_is_dropped() -> None:
    with serving(Fake(STEP_S)) as place:
        with socket.socket(socket.AF_UNIX) as lost:
            lost.connect(f"\0{place}")
            lost.sendall(b'{"id": 1, "prompt": "a b", "most": 90}\n')
            assert soon(lambda: steps_of(place)["not_ended"] == 1)
        assert soon(lambda: steps_of(place)["not_ended"] == 0)


def test_the_whole_vocabulary_is_asked_for_as_of_a_server() -> None:
    with serving(Fake()) as place:
        asker = Asker(Address(ENGINE, place, 0), "fake")
        route = run(whole_route(asker, [1]))
        assert run(asker.tokens("one two three")) == [3, 3, 5]  # type: ignore[arg-type]

        async def one() -> dict[int, float]:
            return dict(await route.ask([1, 2]))

        assert run(one()) == {at: -float(at + 1) for at in range(VOCABULARY)}


def test_prompts_are_counted_by_its_tokenizer() -> None:
    async def words() -> int:
        count = await tokenizer_of(Address(ENGINE, place, 0), "fake", None)
        assert count is not None
        return await count("one two three four")

    with serving(Fake()) as place:
        assert run(words()) == 4


def test_what_it_does_not_have_is_said() -> None:
    with serving(Fake()) as place, pytest.raises(BenchError, match="an engine in process has no /metrics"):
        run(fetch(Address(ENGINE, place, 0), "/metrics", None))
    with pytest.raises(BenchError, match="no process of the engine listens"):
        run(fetch(Address(ENGINE, new_place(), 0), "/evidence", None))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no JSON\n", "closed its side"),
        (b'{"id": 0, "times_ns": [5, 4], "tokens": [1, 1], "ended_ns": 6}\n', "do not fit together"),
        (b'{"id": 0, "times_ns": [5], "tokens": [1], "ended_ns": 4}\n', "do not fit together"),
        (b'{"id": 0, "times_ns": [5], "tokens": [1, 1], "ended_ns": 6}\n', "do not fit together"),
        (b'{"id": 0, "times_ns": 5, "tokens": [1], "ended_ns": 6}\n', "no list of numbers"),
        (b'{"id": 0, "times_ns": [true], "tokens": [1], "ended_ns": 6}\n', "no list of numbers"),
        (b'{"id": 0, "failed": "out of memory"}\n', "out of memory"),
        (b"", "closed its side"),
    ],
)
def test_what_makes_no_sense_is_a_request_that_failed(line: bytes, why: str) -> None:
    with answering(line) as place:
        done = loaded(place, ClosedLoop(1, 1), by_words([(3, 2)], 1))
    assert done.samples[0].status == "failed"
    assert why in done.samples[0].reason


def test_a_reply_that_breaks_off_is_cut_short() -> None:
    now = time.monotonic_ns()
    said = f'{{"id": 0, "times_ns": [{now}], "tokens": [1], "ended_ns": {now}, "failed": "dropped"}}\n'

    async def sent(place: str) -> Sample:
        client = Client(settings(place))
        try:
            return await client.send(0, Asked("a", 1, 2))
        finally:
            client.close()

    with answering(said.encode()) as place:
        assert run(sent(place)).status == "cut short"


def test_a_process_of_another_user_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Fake()) as place:
        monkeypatch.setattr(os, "getuid", lambda: -1)
        with pytest.raises(BenchError, match="closed its side"):
            run(fetch(Address(ENGINE, place, 0), "/evidence", None))


def test_an_ask_that_is_cancelled_leaves_nothing_behind() -> None:
    async def hurry() -> int:
        wire = Wire(place)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await wire.ask("/v1/completions", {"prompt": [1], "logprobs": -1})
        left = len(wire._waiting)
        wire.close()
        return left

    with serving(Fake(0.3)) as place:
        assert run(hurry()) == 0
        assert soon(lambda: steps_of(place)["not_ended"] == 0)


# ---- a process of its own -------------------------------------------------------------------------


def fake_adapter(*arguments: str) -> Adapter:
    def command(launch: Launch) -> tuple[str, ...]:
        return (launch.python, str(PROGRAM), launch.place, *arguments)

    return Adapter(
        "transformers-batching", "the fake", command, in_process.PATH, (in_process.PATH,), lambda _: "fake",
        "it is here", extra=WHOLE, said=in_process.said, in_process=True,
    )  # fmt: skip


def launched() -> Launch:
    return Launch("weights", 0, sys.executable)


def test_it_is_started_asked_and_stopped(tmp_path: Path) -> None:
    with started(fake_adapter(), launched(), tmp_path / "log", 60) as up:
        assert up.address.in_process
        assert up.adapter.said(up.evidence).version == "fake-1"
        assert up.gone() == ""
        place = up.address.host
    assert up.parting == ""
    with pytest.raises(BenchError, match="no process of the engine listens"):
        run(fetch(Address(ENGINE, place, 0), "/evidence", None))


def test_an_engine_that_dies_says_why(tmp_path: Path) -> None:
    with started(fake_adapter("--steps", "3"), launched(), tmp_path / "log", 60) as up:
        asked = by_words([(3, 9)] * 2, 1)
        done = run(load(settings(up.address.host), ClosedLoop(2, 2), asked, None, up.gone))
    assert {one.status for one in done.samples} == {"failed"}
    assert "exit code 1" in done.stopped
    assert "the fake engine has no memory left" in done.stopped


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    bad = fake_adapter("--bad")
    with pytest.raises(BenchError, match="arguments: --bad"), started(bad, launched(), tmp_path / "log", 60):
        pytest.fail("it cannot start")


@pytest.mark.parametrize("name", ["transformers-batching", "vllm-offline"])
def test_its_line_names_the_program_the_place_and_the_model(name: str) -> None:
    line = ADAPTERS[name].command(Launch("weights", 0, "python", ("--a", "1"), "place"))
    assert line[0] == "python"
    assert line[2:] == (name, "place", "weights", "--a", "1")


def test_the_program_needs_nothing_but_its_own_directory() -> None:
    """No site-packages (-S): what lies beside this package is of another interpreter."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", str(in_process.PROGRAM), "nothing", "place", "model"],
        capture_output=True, text=True, cwd="/", env={},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "no engine in process is called nothing\n"


@pytest.mark.parametrize(("given", "seen"), [("", "None"), ("/some/packages", "/some/packages")])
def test_packages_beside_this_one_are_not_handed_to_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, seen: str
) -> None:
    """Its own interpreter's come first: PYTHONPATH would put ours before them. What the user has there is
    handed on, as this process may have found the engine there, but not to an interpreter with packages of
    its own."""
    monkeypatch.setenv("PYTHONPATH", given)
    code = "import os, sys; print(os.environ.get('PYTHONPATH')); sys.exit(3)"
    adapter = fake_adapter()
    odd = Adapter(**{**vars(adapter), "command": lambda launch: (launch.python, "-c", code)})
    with pytest.raises(BenchError, match="exit code 3"), started(odd, launched(), tmp_path / "log", 60):
        pytest.fail("it cannot start")
    assert (tmp_path / "log").read_text() == f"{seen}\n"
    assert not servers._places_of(replace(launched(), python="/usr/bin/python3"))


ROW = f"""
model: smollm2-135m
runtime: {{name: transformers-batching, python: {sys.executable}, wait_s: 20}}
workload: {{name: offline, requests: 4, input_tokens: 6, output_tokens: 4, warmup: 1}}
drift: {{tokens: 64, window: 32}}
slo: {{ttft_ms: 5000, tpot_ms: 500}}
measure: {{processes: 1, max_rounds: 1, max_disturbance: 1}}
variants: [{{name: same}}]
"""


def test_a_row_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientOverhead, "reasons", lambda _self: ())  # tests run beside others
    monkeypatch.setitem(engines.ADAPTERS, "transformers-batching", fake_adapter("--step-s", "0.01"))
    path = tmp_path / "c.yaml"
    path.write_text(ROW)
    directory = run_spec(read_config(path), tmp_path / "out")
    done = load_run(directory)
    assert [row.status for row in done.rows] == ["ok", "ok"], done.reasons
    _base, row = done.rows
    server = row.evidence.steps[0]["server"]  # type: ignore[union-attr]
    assert server["settings"]["version"] == "fake-1"
    assert server["steps"]["most_at_once"] == 4
    assert server["steps"]["not_ended"] == 0
    assert server["tokens_by"] == "its tokenizer"
    for key in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms", "output_throughput", "cost_per_good_request_usd"):
        assert row.figure(key) is not None, key
    assert 10 <= row.figure("tpot_ms").value < 200  # type: ignore[union-attr]
    assert row.figure(KLD.key).value == 0  # type: ignore[union-attr]
    assert "figure by figure" in verify_run(directory)


def test_an_engine_that_keeps_requests_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientOverhead, "reasons", lambda _self: ())

    async def left(_self: Target) -> dict[str, int]:
        return {"steps": 3, "not_ended": 2}

    monkeypatch.setattr(Target, "steps", left)
    monkeypatch.setitem(engines.ADAPTERS, "transformers-batching", fake_adapter())
    path = tmp_path / "c.yaml"
    path.write_text(ROW)
    done = load_run(run_spec(read_config(path), tmp_path / "out"))
    assert "still has 2 requests after the load" in str(done.reasons)
