"""A server that we start: healthy or a sentence, and nothing of it is left, whatever happens to whom."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from running_stub import STUB

from bench.errors import BenchError, UsageError
from bench.serving import server as servers
from bench.serving.arrivals import ClosedLoop
from bench.serving.client import Settings
from bench.serving.engines import ADAPTERS, adapter_called, llama_cpp_server
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.load import load, run
from bench.serving.prompts import by_words
from bench.serving.server import Server, free_port, started

ROOT = Path(__file__).parents[2]
GRACE_S, LATER_S = 1.0, 0.3  # what those take all of that do not end by themselves


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "GRACE_S", GRACE_S)
    monkeypatch.setattr(servers, "LATER_S", LATER_S)


def adapter(*arguments: str) -> Adapter:
    """The stub as an engine."""

    def command(launch: Launch) -> tuple[str, ...]:
        return (launch.python, str(STUB), "--port", str(launch.port), *arguments)

    return Adapter(
        "stub", "the stub", command, "/health", ("/version", "/nothing"), lambda _: "stub", "it is here"
    )


def launch(python: str = sys.executable) -> Launch:
    return Launch("weights", free_port(), python)


def processes_of(port: int) -> list[psutil.Process]:
    """The processes that have this port in their command line: the keeper and the server."""
    found = []
    for one in psutil.process_iter(["cmdline", "status"]):
        if str(port) in (one.info["cmdline"] or []) and one.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(one)
    return found


def soon(is_so: Callable[[], bool], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_started_asked_and_stopped(tmp_path: Path) -> None:
    asked = launch()
    with started(adapter(), asked, tmp_path / "log", 60) as up:
        assert up.evidence["/version"] == {"version": "stub-1"}
        assert "not read" in str(up.evidence["/nothing"])
        assert up.gone() == ""
        assert len(processes_of(asked.port)) == 2
    assert processes_of(asked.port) == []
    assert up.parting == ""


def fails(tmp_path: Path, one: Adapter, asked: Launch, wait_s: float) -> str:
    with pytest.raises(BenchError) as bad, started(one, asked, tmp_path / "log", wait_s):
        pytest.fail("it was taken for healthy")
    assert processes_of(asked.port) == []
    return str(bad.value)


def test_a_server_that_never_gets_healthy(tmp_path: Path) -> None:
    said = fails(tmp_path, adapter("--unhealthy"), launch(), 2)
    assert "the stub was not healthy within 2 s (HTTP 503" in said


def test_a_server_that_ends_at_once(tmp_path: Path) -> None:
    said = fails(tmp_path, adapter("--no-such-option"), launch(), 60)
    assert "the server died (exit code 2)" in said
    assert "unrecognized arguments" in said
    assert "install" not in said  # a wrong argument is not mended by installing


def test_a_server_whose_package_is_not_there_says_what_installs_it(tmp_path: Path) -> None:
    without = Adapter(**{**vars(adapter()), "command": lambda _: (sys.executable, "-m", "no_such_engine")})
    said = fails(tmp_path, without, launch(), 60)
    assert "No module named no_such_engine" in said
    assert said.endswith(f"(install: {without.install})")


PROGRAM = ROOT / "bench/serving/engines/llama_cpp_program.py"
# A package that notes what it was told, and ends.
XLLAMACPP = """
from types import SimpleNamespace as N
BUILD_INFO = "b1"
ggml_type = llama_flash_attn_type = int
class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = N(), N(), N()
        self.n_batch, self.n_ubatch = 2048, 512
class Server:
    def __init__(self, settings):
        told = {k: v for k, v in vars(settings).items() if isinstance(v, int)}
        told |= {"threads": settings.cpuparams.n_threads, "threads_batch": settings.cpuparams_batch.n_threads}
        import json
        print(json.dumps(told))
        raise SystemExit(0)
"""
LLAMA_CPP = "import sys; print(*sys.argv[1:])"


def of_package(tmp_path: Path, package: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the server of a package that stands in for the real one, which may not be installed here."""
    if package == "xllamacpp":
        (tmp_path / "xllamacpp.py").write_text(XLLAMACPP)
    else:
        (tmp_path / "llama_cpp/server").mkdir(parents=True)
        (tmp_path / "llama_cpp/__init__.py").write_text("")
        (tmp_path / "llama_cpp/server/__init__.py").write_text("")
        (tmp_path / "llama_cpp/server/__main__.py").write_text(LLAMA_CPP)
    return subprocess.run(
        [sys.executable, str(PROGRAM), "--model", "x.gguf", "--port", "1024", *more],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_server_of_the_package_says_which_program_takes_an_argument(tmp_path: Path) -> None:
    done = of_package(tmp_path, "xllamacpp", "--ubatch-sise", "8")
    assert done.returncode == 2
    assert "unrecognized arguments: --ubatch-sise 8 (meant is --ubatch-size?); " in done.stderr
    assert "llama-server, if it is on the path, takes all of its own" in done.stderr
    assert "Traceback" not in done.stderr


TUNED = (
    "--threads", "2", "--parallel", "3", "--ctx-size", "4096", "--batch-size", "64", "--ubatch-size", "32",
    "--cache-type-k", "q8_0", "--cache-type-v", "q4_0", "--flash-attn", "on",
)  # fmt: skip


def test_what_users_tune_reaches_xllamacpp(tmp_path: Path) -> None:
    done = of_package(tmp_path, "xllamacpp", *TUNED, "--no-cont-batching", "--threads-batch", "1")
    assert json.loads(done.stdout) == {
        "n_batch": 64, "n_ubatch": 32, "n_parallel": 3, "n_ctx": 4096, "cont_batching": False, "port": 1024,
        "endpoint_props": True, "endpoint_metrics": True, "cache_type_k": 8, "cache_type_v": 2,
        "flash_attn_type": 1, "threads": 2, "threads_batch": 1,
    }  # fmt: skip


def test_llama_cpp_python_gets_the_same_by_its_own_names(tmp_path: Path) -> None:
    """It was told ``--threads``, which its server does not know."""
    done = of_package(tmp_path, "llama_cpp", *TUNED)
    assert done.stdout.split() == [
        "--model", "x.gguf", "--host", "127.0.0.1", "--port", "1024", "--n_ctx", "4096", "--n_threads", "2",
        "--n_threads_batch", "2", "--n_batch", "64", "--n_ubatch", "32", "--type_k", "8", "--type_v", "2",
        "--flash_attn", "True",
    ]  # fmt: skip


def test_llama_cpp_python_has_no_batches_of_requests(tmp_path: Path) -> None:
    done = of_package(tmp_path, "llama_cpp", "--no-cont-batching")
    assert (done.returncode, done.stdout) == (2, "")
    assert "computes one request at a time" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--parallel", "0"), "'0' is no whole number above 0"),
        (("--ctx-size", "many"), "'many' is no whole number above 0"),
        (("--cache-type-k", "q3"), "invalid choice: 'q3'"),
        (("--ubatch-size", "4096"), "is more than --batch-size 2048"),
        (("--cache-type-v", "q8_0", "--no-flash-attn"), "needs flash attention"),
        (("--cont-batching", "--flash-attn"), ""),
        (("--flash-attn", "auto", "--batch-size=16", "--ubatch-size=16"), ""),
    ],
)
def test_arguments_of_the_package_are_judged_before_it_starts(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp_server, "program_called", lambda _name: None)
    found = ADAPTERS["llama-cpp-server"].wrong(words)
    assert found == "" if not said else said in found
    monkeypatch.setattr(llama_cpp_server, "program_called", lambda _name: "/bin/llama-server")
    assert ADAPTERS["llama-cpp-server"].wrong(words) == ""  # it has more arguments than are known here
    assert ADAPTERS["vllm"].wrong(words) == ""


def test_a_server_that_talks_without_end_fills_no_disk(tmp_path: Path) -> None:
    """Its log is kept short while it runs."""
    log = tmp_path / "log"
    with started(adapter("--talk", "40"), launch(), log, 60) as up:
        assert soon(lambda: log.stat().st_size < 20 << 20), log.stat().st_size
        assert up.gone() == ""
    assert b"the middle of this log was left out" in log.read_bytes()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    said = fails(tmp_path, adapter(), launch(str(tmp_path / "python")), 60)
    assert "exit code 127" in said
    assert "cannot be started" in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port} is taken"),
            started(adapter(), Launch("weights", port, sys.executable), tmp_path / "log", 5),
        ):
            pytest.fail("it was started")


def test_a_server_that_leaves_processes_behind(tmp_path: Path) -> None:
    with started(adapter("--leave-child"), launch(), tmp_path / "log", 60) as up:
        children = psutil.Process(up._keeper.pid).children(recursive=True)
        assert len(children) == 2
    assert "left 1 processes when it was stopped; they were killed" in up.parting
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in children)


def test_a_keeper_that_does_not_move_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "STOP_S", 0.5)
    asked = launch()
    with started(adapter(), asked, tmp_path / "log", 60) as up:
        os.kill(up._keeper.pid, signal.SIGSTOP)
    assert up.parting == "the stub could not be stopped within 0.5 s"
    assert soon(lambda: not processes_of(asked.port)), "the server ends with its keeper"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_server_that_dies(tmp_path: Path, number: int) -> None:
    def server_of(up: Server) -> int:
        return int(psutil.Process(up._keeper.pid).children()[0].pid)

    with started(adapter(), launch(), tmp_path / "log", 60) as up:
        os.kill(server_of(up), number)
        assert soon(lambda: up.gone() != "")
        assert f"the server died (by signal {int(number)})" in up.gone()


def test_a_server_that_dies_under_load(tmp_path: Path) -> None:
    """The load ends with a sentence that holds the exit code, and the requests that were lost are failed."""
    with started(adapter("--die-after", "5"), launch(), tmp_path / "log", 60) as up:
        settings, asked = Settings(up.address, "gap=1", timeout_s=20), by_words([(5, 4)] * 60, 1)
        found = run(load(settings, ClosedLoop(2, 60), asked, gone=up.gone))
    assert "the server died (exit code 3)" in found.stopped
    assert found.stopped in found.invalid
    assert len(found.samples) < 60
    assert {one.status for one in found.samples} >= {"ok", "failed"}


@pytest.mark.parametrize("more", [(), ("--leave-child",), ("--ignore-term",)], ids=" ".join)
def test_nothing_is_left_when_we_are_killed(tmp_path: Path, more: tuple[str, ...]) -> None:
    """SIGKILL of the one who started it: nobody has time to say goodbye."""
    port = free_port()
    code = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(STUB.parent)!r}]
from pathlib import Path
from test_server import adapter
from bench.serving.engines.adapter import Launch
from bench.serving import server
server.GRACE_S, server.LATER_S = {GRACE_S}, {LATER_S}
launch = Launch("weights", {port}, sys.executable)
with server.started(adapter(*{more!r}), launch, Path({str(tmp_path / "log")!r}), 60):
    print("up", flush=True)
    time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    family = [child for one in processes_of(port) for child in (one, *one.children(recursive=True))]
    owner.kill()
    owner.communicate()
    assert len({one.pid for one in family}) == 2 + ("--leave-child" in more)
    assert soon(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))


# ---- adapters ----


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_engine_is_started_on_this_machine_only(name: str) -> None:
    one = adapter_called(name)
    command = one.command(Launch("/models/m", 8123, "/env/bin/python", ("--last", "x")))
    assert command[-2:] == ("--last", "x")
    if one.in_process:  # it listens at no port, and at its Unix socket for this user's processes only
        assert not {"--host", "--port", "8123"} & set(command)
    else:
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert command[command.index("--port") + 1] == "8123"
    assert "/models/m" in command
    assert one.health.startswith("/")
    assert one.evidence


def test_an_engine_that_is_none() -> None:
    with pytest.raises(UsageError, match="did you mean 'vllm'"):
        adapter_called("vlm")
