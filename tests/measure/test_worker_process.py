"""Real child processes that break in every way the fault table knows: each ends with its own name, none
hangs, none leaves anything behind. The engine is ``fake_runtimes/fake.py``; all else is the real thing."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import fake_model, interpreter

import bench
from bench.errors import Outcome, VariantFailed
from bench.machine.proc import entries
from bench.measure import worker_process
from bench.measure.together import BaselineDied, ask_both
from bench.measure.worker_death import failure_of
from bench.measure.worker_process import PeerGone, WorkerProcess
from bench.worker import protocol

OPTIONS = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False}
RUNTIME = "bench.runtimes.fake"
PATIENCE_S = 60.0
NONE_S = 0.1  # what a worker gets that would never leave: it takes all of it


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough for a worker beside load: only one that would never leave takes all of it."""
    monkeypatch.setattr(worker_process, "GRACE_S", 3.0)
    monkeypatch.setattr(worker_process, "STALL_S", 2.0)


@pytest.fixture
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a worker that hangs, so that nothing is gained by waiting for it."""
    monkeypatch.setattr(worker_process, "GRACE_S", NONE_S)
    monkeypatch.setattr(worker_process, "STALL_S", 3 * NONE_S)


@contextmanager
def worker(directory: Path, name: str = "variant") -> Iterator[WorkerProcess]:
    """A worker with the fake runtime; afterwards neither it nor anything in its group is there."""
    directory.mkdir(parents=True, exist_ok=True)
    with WorkerProcess(name, directory / f"{name}.log", interpreter(directory), 1) as found:
        yield found
    wait_until(lambda: group_of(found.pid) == [])


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def group_of(pid: int) -> list[int]:
    """Living members of the worker's process group."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def where_to(link: Path) -> str:
    """The target of a link; nothing where it has just been closed."""
    with suppress(OSError):
        return str(link.readlink())
    return ""


def load(
    under: WorkerProcess, directory: Path, *faults: Mapping[str, object], timeout_s: float = PATIENCE_S
) -> Any:
    model = fake_model(directory / "model", *faults)
    return under.ask(
        "load", timeout_s, directory=str(model), runtime=RUNTIME, options=OPTIONS, optimise=[]
    )  # fmt: skip


def ready(under: WorkerProcess, directory: Path, *faults: Mapping[str, object], requests: int = 2) -> None:
    """Loaded, and given its prompts."""
    load(under, directory, *faults)
    prompts = [{"text": "one two", "chat": False, "tokens": None}] * requests
    under.ask("prompts", PATIENCE_S, prompts=prompts, batch_size=1, output_tokens=3)


def failure(do: Callable[[], object]) -> VariantFailed:
    with pytest.raises(VariantFailed) as caught:
        do()
    return caught.value


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def test_a_worker_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "GRACE_S", PATIENCE_S)
    with worker(tmp_path) as under:
        assert load(under, tmp_path)["facts"]["engine"] == "fake"
        ready(under, tmp_path)
        assert len(under.ask("solo", PATIENCE_S)["batches"]) == 2
        wait_until(lambda: psutil.Process(under.pid).status() == psutil.STATUS_SLEEPING)
        process = under._process
    assert process is not None
    assert process.returncode == 0, "a healthy worker leaves by itself when its channel closes"


def test_a_worker_that_leaves_does_what_was_left_to_do(tmp_path: Path) -> None:
    """It takes nothing apart any more, but what it has printed is in its log."""
    done = tmp_path / "done"
    with worker(tmp_path) as under:
        load(under, tmp_path, {"at": "load", "do": "promise", "file": str(done)})
        assert not done.exists()
    assert done.exists()
    assert (tmp_path / "variant.log").read_text() == "so long"


def test_words_on_the_way_are_passed_on_and_are_no_answer(tmp_path: Path) -> None:
    """They also say that the worker is alive: silence is counted anew after each."""
    said: list[str] = []
    with worker(tmp_path) as under:
        under.on_progress = said.append
        words = {"at": "load", "do": "progress", "text": "step 1 of 2"}
        assert load(under, tmp_path, words)["facts"]["engine"] == "fake"
    assert said == ["step 1 of 2"]


@pytest.mark.parametrize(
    ("fault", "outcome", "reason"),
    [
        ({"do": "segfault"}, Outcome.SEGFAULT, "died of SIGSEGV"),
        ({"do": "kill"}, Outcome.OOM_HOST, "killed by the system"),
        ({"do": "exit"}, Outcome.RUN_ERROR, "exit code 3"),
        ({"do": "leave"}, Outcome.RUN_ERROR, "no more"),
        ({"do": "raise", "kind": "ValueError", "text": "shape"}, Outcome.LOAD_ERROR, "ValueError: shape"),
        ({"do": "raise", "kind": "ImportError", "text": "no engine"}, Outcome.IMPORT_ERROR, "no engine"),
        ({"do": "raise", "kind": "MemoryError"}, Outcome.OOM_HOST, "MemoryError"),
        (
            {"do": "raise", "kind": "ValueError", "text": "DefaultCPUAllocator: can't allocate memory: 4 GB"},
            Outcome.OOM_HOST,
            "can't allocate",
        ),
        ({"do": "raise", "kind": "OutOfMemoryError", "text": "CUDA"}, Outcome.OOM_GPU, "CUDA"),
        ({"do": "say", "frame": "00000005" + b"hello".hex()}, Outcome.PROTOCOL_ERROR, "not JSON"),
        ({"do": "say", "frame": "ffffffff"}, Outcome.PROTOCOL_ERROR, "over the limit"),
        ({"do": "say", "json": "[1]"}, Outcome.PROTOCOL_ERROR, "not an object"),
        ({"do": "say", "json": '{"ok": true, "result": {"x": NaN}}'}, Outcome.PROTOCOL_ERROR, "NaN"),
        ({"do": "say", "json": '{"ok": true}'}, Outcome.PROTOCOL_ERROR, "unknown form"),
        ({"do": "say", "json": '{"ok": "yes", "result": {}}'}, Outcome.PROTOCOL_ERROR, "unknown form"),
        ({"do": "say", "json": '{"ok": false, "outcome": "fine"}'}, Outcome.PROTOCOL_ERROR, "unknown form"),
        ({"do": "say", "json": "[" * 100_000}, Outcome.PROTOCOL_ERROR, "nested too deeply"),
        ({"do": "say", "frame": "00000010" + b"half".hex()}, Outcome.PROTOCOL_ERROR, "stopped half way"),
        ({"do": "say", "frame": "0000"}, Outcome.PROTOCOL_ERROR, "stopped half way"),
    ],
)  # fmt: skip
@pytest.mark.fault(1, 2, 3, 21)
def test_each_way_to_fail_has_its_name(
    tmp_path: Path, fault: Mapping[str, object], outcome: Outcome, reason: str, request: pytest.FixtureRequest
) -> None:
    if fault["do"] == "say":  # and hangs then
        request.getfixturevalue("_no_grace")
    with worker(tmp_path) as under:
        found = failure(lambda: load(under, tmp_path, {"at": "load", **fault}))
    assert found.outcome == outcome
    assert reason in found.reason


def test_a_failure_after_loading_is_not_a_load_error(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        ready(under, tmp_path, {"at": "step", "call": 3, "do": "raise", "kind": "ValueError"})
        found = failure(lambda: under.ask("solo", PATIENCE_S))
    assert (found.outcome, found.reason) == (Outcome.RUN_ERROR, "ValueError: planted")


@pytest.mark.fault(1)
def test_killed_from_outside(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        under.start("load", (), directory=str(fake_model(tmp_path / "m", {"at": "load", "do": "hang"})),
                    runtime=RUNTIME, options=OPTIONS, optimise=[])  # fmt: skip
        os.kill(under.pid, signal.SIGKILL)
        assert failure(lambda: under.finish(PATIENCE_S)).outcome == Outcome.OOM_HOST


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGKILL, r"killed by the system: .* 99999999 s .* \(ulimit -t\), or memory ran out"),
        (-signal.SIGXCPU, r"the worker has used the 99999999 s .* \(ulimit -t\)"),
    ],
)
def test_a_limit_of_the_processor_time_is_named(tmp_path: Path, code: int, said: str) -> None:
    """It was called memory or a crash; what the log says is no reason either."""
    (tmp_path / "log").touch()
    before = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (99_999_999, before[1]))
    try:
        found = failure_of(code, tmp_path / "log", None)
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)
    assert found.outcome == Outcome.RUN_ERROR
    assert re.fullmatch(said, found.reason)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("memory allocation of 99 bytes failed", "memory allocation of 99 bytes failed"),
        ("terminate called\n  what():  std::bad_alloc", "bad_alloc"),
    ],
)
def test_memory_that_a_library_did_not_get_is_named(tmp_path: Path, words: str, said: str) -> None:
    """Rust and C++ end their process then; it was called a crash."""
    (tmp_path / "log").write_text(f"loading\n{words}\nnote: more on another line\n")
    found = failure_of(-signal.SIGABRT, tmp_path / "log", None)
    assert (found.outcome, found.reason) == (Outcome.OOM_HOST, f"a library was refused memory: {said}")
    limited = failure_of(-signal.SIGABRT, tmp_path / "log", 2**30)
    assert limited.reason == "more memory than measure.memory_limit, 1,024 MiB"


def test_an_instruction_that_the_machine_refuses_has_advice(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        os.kill(under.pid, signal.SIGILL)
        wait_until(lambda: not alive(under.pid))
        found = failure(lambda: under.ask("solo", PATIENCE_S))
    assert found.outcome == Outcome.SEGFAULT
    assert found.reason.startswith(
        "the worker died of SIGILL: a library has instructions that this machine refuses"
    )


def test_killed_by_a_signal_without_a_name(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        os.kill(under.pid, signal.SIGRTMIN + 1)
        wait_until(lambda: not alive(under.pid))
        found = failure(lambda: under.ask("solo", PATIENCE_S))
    assert found.outcome == Outcome.SEGFAULT
    assert found.reason.startswith(f"the worker died of signal {signal.SIGRTMIN + 1}")


def test_killed_while_nobody_was_asking(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        ready(under, tmp_path)
        os.kill(under.pid, signal.SIGKILL)
        wait_until(lambda: not alive(under.pid))
        assert failure(lambda: under.ask("solo", PATIENCE_S)).outcome == Outcome.OOM_HOST


@pytest.mark.fault(4)
def test_a_hang_ends_at_the_deadline(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        started = time.monotonic()
        found = failure(lambda: load(under, tmp_path, {"at": "load", "do": "hang"}, timeout_s=0.3))
        assert found.outcome == Outcome.TIMEOUT
        assert "no answer within" in found.reason
        assert time.monotonic() - started < PATIENCE_S


@pytest.mark.fault(6)
@pytest.mark.usefixtures("_no_grace")
def test_a_worker_that_ignores_sigterm(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        found = failure(lambda: load(under, tmp_path, {"at": "load", "do": "deaf"}, timeout_s=0.3))
        assert found.outcome == Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("end", "by"),
    [
        *(("hang", ""), ("segfault", ""), ("exit", "")),
        *(("hang", "setsid"), ("segfault", "setsid"), ("hang", "setsid env -i")),
    ],
)
@pytest.mark.fault(7)
def test_grandchildren_go_with_their_grandparent(tmp_path: Path, end: str, by: str) -> None:
    """Those in a session of their own too, even if their environment is empty."""
    file = tmp_path / "grandchild"
    faults = [{"at": "load", "do": "grandchild", "file": str(file), "by": by}, {"at": "load", "do": end}]
    with worker(tmp_path) as under:
        model = fake_model(tmp_path / "model", *faults)
        under.start("load", (), directory=str(model), runtime=RUNTIME, options=OPTIONS, optimise=[])
        wait_until(lambda: file.exists() and bool(file.read_text().strip()))
        failure(lambda: under.finish(0.3 if end == "hang" else PATIENCE_S))
        grandchild = int(file.read_text())
    wait_until(lambda: not alive(grandchild))


@pytest.mark.usefixtures("_no_grace")
def test_a_worker_that_stops_reading(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        os.kill(under.pid, signal.SIGSTOP)
        found = failure(lambda: under.ask("load", 0.3, text="x" * 4_000_000))
    assert found.outcome == Outcome.TIMEOUT


def test_a_command_may_be_larger_than_any_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an evaluation text is; what is larger than that is a failure with a reason."""
    text = "wort " * 2000
    with worker(tmp_path) as under:
        load(under, tmp_path)
        monkeypatch.setattr(protocol, "MAX_FRAME_BYTES", 1000)
        assert under.ask("corpus", PATIENCE_S, text=text)["tokens"] == 2000
        monkeypatch.setattr(worker_process, "MAX_COMMAND_BYTES", 1000)
        found = failure(lambda: under.ask("corpus", PATIENCE_S, text=text))
    assert found.outcome == Outcome.PROTOCOL_ERROR
    assert "'corpus': a message of 100" in found.reason


def test_an_unknown_command_ends_the_worker(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        assert failure(lambda: under.ask("no_such_command", PATIENCE_S)).outcome == Outcome.RUN_ERROR


def test_an_interpreter_that_cannot_be_started(tmp_path: Path) -> None:
    for name, content in (("absent", None), ("not-executable", ""), ("not-a-program", "\0\1\2")):
        file = tmp_path / name
        if content is not None:
            file.write_text(content)
            file.chmod(0o755 if name == "not-a-program" else 0o644)
        under = WorkerProcess("variant", tmp_path / "log", file)
        found = failure(under.__enter__)
        assert found.outcome == Outcome.LOAD_ERROR
        assert "cannot start" in found.reason
        under.close()


def test_an_interpreter_that_is_no_worker(tmp_path: Path) -> None:
    found = failure(WorkerProcess("variant", tmp_path / "log", Path("/bin/echo")).__enter__)
    assert found.outcome == Outcome.RUN_ERROR


def test_closing_twice_and_closing_what_never_began(tmp_path: Path) -> None:
    WorkerProcess("variant", tmp_path / "log").close()
    with worker(tmp_path) as under:
        under.close()
        under.close()
        under.pin([0])


# ---- what a worker gets to see -------------------------------------------------------------------


def test_no_secret_reaches_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "OPENAI_API_KEY", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.setenv(name, "s3cr3t-value")
    monkeypatch.setenv("LANG", "C.UTF-8")
    model = fake_model(tmp_path / "model", facts={"loaded": "environment"})
    with worker(tmp_path) as under:
        facts = under.ask(
            "load", PATIENCE_S, directory=str(model), runtime=RUNTIME, options=OPTIONS, optimise=[]
        )["facts"]  # fmt: skip
    found = json.loads(facts["loaded"])
    assert "s3cr3t-value" not in str(found)
    assert found["LANG"] == "C.UTF-8"
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["OMP_NUM_THREADS"] == "1"


def test_no_open_file_of_the_harness_reaches_a_worker(tmp_path: Path) -> None:
    with (tmp_path / "private").open("w") as private, worker(tmp_path) as under:
        os.set_inheritable(private.fileno(), True)
        targets = [where_to(fd) for fd in entries(Path(f"/proc/{under.pid}/fd"))]
    assert targets
    assert str(tmp_path / "private") not in targets


@pytest.mark.fault(3)
def test_what_a_worker_prints_is_in_its_log_and_not_in_the_channel(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        failure(lambda: load(under, tmp_path, {"at": "load", "do": "raise", "kind": "ValueError"}))
    log = (tmp_path / "variant.log").read_text()
    assert "Traceback" in log
    assert "ValueError: planted" in log


@pytest.mark.fault(8)
def test_a_worker_dies_with_the_harness(tmp_path: Path) -> None:
    """The harness is killed outright, in the middle of a command: nothing of it stays."""
    script = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).resolve().parent.parent)!r})
        from pathlib import Path
        from fakes import fake_model, interpreter
        from bench.measure.worker_process import WorkerProcess
        here = Path({str(tmp_path)!r})
        under = WorkerProcess("variant", here / "log", interpreter(here), 1)
        under.__enter__()
        model = fake_model(here / "m", {{"at": "load", "do": "hang"}})
        under.start("load", (), directory=str(model), runtime={RUNTIME!r}, options={OPTIONS!r}, optimise=[])
        print(under.pid, flush=True)
        under.finish(3600)
    """
    harness = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert harness.stdout is not None
    with harness:
        pid = int(harness.stdout.readline())
        assert psutil.pid_exists(pid)
        harness.kill()
    wait_until(lambda: not alive(pid))


def test_a_worker_started_by_somebody_else_refuses(tmp_path: Path) -> None:
    entry = Path(bench.__file__).parent / "worker" / "__main__.py"
    found = subprocess.run(
        [sys.executable, str(entry), "0", "1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert found.returncode != 0
    assert "the harness was gone" in found.stderr


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_pinning_binds_every_thread_and_lets_go(tmp_path: Path) -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    with worker(tmp_path) as under:
        under.pin(everywhere[-1:])
        assert os.sched_getaffinity(under.pid) == {everywhere[-1]}
        under.pin(everywhere)
        assert os.sched_getaffinity(under.pid) == set(everywhere)


def test_the_harness_sleeps_while_a_worker_works(tmp_path: Path) -> None:
    """It must not poll: on two cores a polling parent costs a third of the speed (D2)."""
    with worker(tmp_path) as under:
        before = time.process_time()
        failure(lambda: load(under, tmp_path, {"at": "load", "do": "hang"}, timeout_s=1.0))
        assert time.process_time() - before < 0.5


# ---- two at a time -------------------------------------------------------------------------------


@contextmanager
def two(
    tmp_path: Path, *faults: tuple[Mapping[str, object], ...]
) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    with worker(tmp_path / "b", "baseline") as base, worker(tmp_path / "v", "variant") as variant:
        ready(base, tmp_path / "b", *faults[0])
        ready(variant, tmp_path / "v", *faults[1])
        yield base, variant


FIRSTS = [[0, 1, 1], [1, 1, 0]]


def turns(base: WorkerProcess, variant: WorkerProcess, timeout_s: float = PATIENCE_S) -> Any:
    return ask_both("duet", base, variant, timeout_s, batches=[0, 1], firsts=FIRSTS)


def test_a_duet_of_two_processes(tmp_path: Path) -> None:
    with two(tmp_path, (), ()) as (base, variant):
        for _ in range(2):
            ours, theirs = turns(base, variant)
            assert ours["durations_ns"] == theirs["durations_ns"] == [[10_000_000, 1_000_000, 1_000_000]] * 2


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"do": "segfault"}, Outcome.SEGFAULT),
        ({"do": "kill"}, Outcome.OOM_HOST),
        ({"do": "raise", "kind": "ValueError"}, Outcome.RUN_ERROR),
        ({"do": "hang"}, Outcome.TIMEOUT),
        ({"do": "say", "json": "[]"}, Outcome.PROTOCOL_ERROR),
    ],
)
def test_a_variant_that_breaks_in_a_duet_leaves_the_baseline_whole(
    tmp_path: Path, fault: Mapping[str, object], outcome: Outcome, request: pytest.FixtureRequest
) -> None:
    if fault["do"] in ("say", "hang"):  # it does not leave
        request.getfixturevalue("_no_grace")
    with (
        two(tmp_path, (), ({"at": "step", "call": 2, **fault},)) as (base, variant),
        worker(tmp_path / "next", "next") as other,
    ):
        found = failure(lambda: turns(base, variant, 1.2))
        variant.close()
        assert found.outcome == outcome
        ready(other, tmp_path / "next")
        assert turns(base, other)[0]["durations_ns"] == [[10_000_000, 1_000_000, 1_000_000]] * 2


@pytest.mark.parametrize("fault", ["segfault", "kill", "hang"])
def test_a_baseline_that_breaks_in_a_duet_is_told_apart(tmp_path: Path, fault: str) -> None:
    expected = {"segfault": Outcome.SEGFAULT, "kill": Outcome.OOM_HOST, "hang": Outcome.TIMEOUT}[fault]
    with two(tmp_path, ({"at": "step", "call": 2, "do": fault},), ()) as (base, variant):
        with pytest.raises(BaselineDied) as caught:
            turns(base, variant, 1.0)
        assert caught.value.failure.outcome == expected


def test_a_variant_that_died_before_the_duet(tmp_path: Path) -> None:
    """The baseline was already asked: its answer must not be taken for the next one."""
    with (
        two(tmp_path, (), ()) as (base, variant),
        worker(tmp_path / "next", "next") as other,
    ):
        os.kill(variant.pid, signal.SIGKILL)
        wait_until(lambda: not alive(variant.pid))
        assert failure(lambda: turns(base, variant)).outcome == Outcome.OOM_HOST
        ready(other, tmp_path / "next")
        assert len(turns(base, other)[0]["durations_ns"]) == 2


def test_a_baseline_that_died_before_the_duet(tmp_path: Path) -> None:
    with two(tmp_path, (), ()) as (base, variant):
        os.kill(base.pid, signal.SIGKILL)
        wait_until(lambda: not alive(base.pid))
        with pytest.raises(BaselineDied):
            turns(base, variant)
        assert variant.ask("corpus", PATIENCE_S, text="one two")["tokens"] == 2


def test_a_survivor_says_that_its_partner_died(tmp_path: Path) -> None:
    with worker(tmp_path) as under:
        ready(under, tmp_path)
        ours, theirs = socket.socketpair()
        with theirs:
            under.start("duet", [theirs.fileno()], batches=[0, 1], firsts=FIRSTS, me=1)
        ours.close()
        with pytest.raises(PeerGone):
            under.finish(PATIENCE_S)
        assert under.ask("corpus", PATIENCE_S, text="three")["tokens"] == 1


def test_a_worker_with_a_memory_limit(tmp_path: Path) -> None:
    """The kernel refuses what is beyond it; the reason names the key of the config."""
    limit = 400 << 20
    with WorkerProcess("limited", tmp_path / "log", memory_limit=limit) as found:
        data = next(
            line for line in Path(f"/proc/{found.pid}/limits").read_text().splitlines() if "data" in line
        )
        assert data.split()[3:5] == [str(limit), str(limit)]
        reply = {"ok": False, "outcome": "oom_host", "reason": "MemoryError: "}
        with pytest.raises(
            VariantFailed, match=r"MemoryError:  \(measure\.memory_limit is 400 MiB\)"
        ) as caught:
            found._result(reply)
        assert caught.value.outcome == Outcome.OOM_HOST


@pytest.mark.parametrize("do", ["solo", "duet", "alone", "energy", "device_times", "ceilings", "warm_up"])
def test_a_worker_is_not_timed_after_its_profile(tmp_path: Path, do: str) -> None:
    with worker(tmp_path) as under:
        load(under, tmp_path)
        ready(under, tmp_path)
        assert under.ask("profile", PATIENCE_S)["kernels"] == []
        under.ask("memory", PATIENCE_S)
        with pytest.raises(VariantFailed, match=f"{do} asked after the profile"):
            under.ask(do, PATIENCE_S)
