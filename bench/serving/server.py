"""Start a server, wait until it is healthy, ask it what it is, and leave nothing of it behind."""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.bounded import tail
from bench.errors import BenchError, UsageError
from bench.formatting import printed_line
from bench.machine.children import NOWHERE, SAFE, environment
from bench.machine.package_places import package_places, python_path
from bench.serving.address import ENGINE, Address
from bench.serving.client import fetch
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.load import run
from bench.serving.wire import new_place
from bench.store.files import canonical_json

PREFIXES = ("CUDA_", "VLLM_", "SGLANG_", "LLAMA_", "OMP_", "HF_", "TORCH_", "MKL_", "KMP_")
LOOK_S = 0.2
TAIL_BYTES = 4096
LINES = 6
STOP_S = 20.0
GRACE_S, LATER_S = 10.0, 2.0  # of a server that is to end, and of what it has started: see the keeper
EVIDENCE_S = 60.0  # a server that compiles or captures graphs after it is healthy answers late


@dataclass
class Server:
    """A server that runs: where it is, how it is called in requests, what it said of itself (``evidence``),
    what could not be read, and how long it took to be healthy."""

    adapter: Adapter
    launch: Launch
    address: Address
    log: Path
    _keeper: subprocess.Popen[bytes] = field(repr=False)
    evidence: dict[str, object] = field(default_factory=dict)
    ready_s: float = 0.0
    parting: str = ""
    _said: bytes = b""

    @property
    def model(self) -> str:
        """Return the name of the model in requests."""
        return self.adapter.served_as(self.launch)

    def pids(self) -> list[int]:
        """Return the processes that belong to it: the keeper, the server and what that has started."""
        import psutil

        try:
            below = psutil.Process(self._keeper.pid).children(recursive=True)
        except psutil.Error:
            below = []
        return [self._keeper.pid, *(one.pid for one in below)]

    def memory_bytes(self) -> int:
        """Return the resident memory of its processes together; pages that they share count in each."""
        import psutil

        found = 0
        for pid in self.pids():
            with suppress(psutil.Error):
                found += psutil.Process(pid).memory_info().rss
        return found

    def gone(self) -> str:
        """Say that the server died, and how; '' while it runs."""
        pipe = self._keeper.stdout
        assert pipe is not None
        while select.select([pipe], [], [], 0)[0]:
            more = os.read(pipe.fileno(), 4096)
            if not more:
                break
            self._said += more
        ended = re.search(rb"ended (-?\d+)", self._said)
        if ended is None and self._keeper.poll() is None:
            return ""
        how = _how(int(ended.group(1))) if ended else "its keeper was killed"
        return f"the server died ({how}){self._last()}"

    def stop(self) -> None:
        """End it with all that it spawned. ``parting`` says if it left processes behind, and else is ''."""
        self.parting = self._stopped()

    def _stopped(self) -> str:
        died = self.gone()
        keeper = self._keeper
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        with suppress(OSError):
            keeper.stdin.close()
        try:
            keeper.wait(STOP_S)
            said = keeper.stdout.read()  # a few words, for which its pipe has room
        except subprocess.TimeoutExpired:
            keeper.kill()  # the kernel ends the server with it
            keeper.wait()
            return f"{self.adapter.title} could not be stopped within {STOP_S:g} s"
        finally:
            keeper.stdout.close()
        found = re.search(rb"left (\d+)", self._said + said)
        if found and int(found.group(1)):
            when, left = "died" if died else "was stopped", found.group(1).decode()
            return f"{self.adapter.title} left {left} processes when it {when}; they were killed"
        return "" if found else f"{self.adapter.title}: it is not known whether all of its processes ended"

    def _last(self) -> str:
        try:
            lines = tail(self.log, TAIL_BYTES).decode(errors="replace").strip().splitlines()[-LINES:]
        except OSError:
            lines = []
        shown = (printed_line(line, 300) for line in lines)
        return "; its last lines:\n  " + "\n  ".join(shown) if lines else ""


@contextmanager
def started(adapter: Adapter, launch: Launch, log: Path, wait_s: float) -> Iterator[Server]:
    """Start a server, wait until it is healthy, and stop it at the end whatever happens.

    Raises BenchError with a sentence if the port is taken, if the server ends before it is healthy, or if it
    is not healthy within ``wait_s`` seconds.
    """
    if adapter.in_process:
        launch = replace(launch, place=new_place())
    else:
        _must_be_free(launch.port)
    server = _start(adapter, launch, log)
    try:
        begun = time.monotonic()
        run(_healthy(server, wait_s))
        server.ready_s = time.monotonic() - begun
        server.evidence = run(_evidence(server))
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _must_be_free(port: int) -> None:
    if not 1 <= port <= 65535:
        raise UsageError(f"a port is from 1 to 65535, got {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UsageError(f"port {port} is taken by another program: give another one, or none") from None


def _start(adapter: Adapter, launch: Launch, log: Path) -> Server:
    command, given = adapter.command(launch), [str(GRACE_S), str(LATER_S), _places_of(launch)]
    keeper = subprocess.Popen(
        [sys.executable, "-P", "-m", "bench.serving.keeper", str(log.resolve()), *given, "--", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=NOWHERE, start_new_session=True,
        env={**environment(*PREFIXES), **adapter.environment, **SAFE, **python_path()},
    )  # fmt: skip
    return Server(adapter, launch, _address(launch), log, keeper)


def _address(launch: Launch) -> Address:
    return Address(ENGINE, launch.place, 0) if launch.place else Address("http", "127.0.0.1", launch.port)


def _places_of(launch: Launch) -> str:
    """Return the ``PYTHONPATH`` of a server: the user's own if this interpreter starts it, as it may have
    found the engine there. Another interpreter has packages of its own."""
    return os.pathsep.join(package_places()) if launch.python == sys.executable else ""


async def _healthy(server: Server, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    why = "no answer"
    while time.monotonic() < until:
        if gone := server.gone():
            install = f"\n  (install: {server.adapter.install})" if _lacks_a_package(gone) else ""
            raise BenchError(f"{server.adapter.title}: {gone}{install}")
        try:
            await fetch(
                server.address, server.adapter.health, None, wait_s=max(until - time.monotonic(), LOOK_S)
            )
        except BenchError as bad:
            why = str(bad).removeprefix(f"{server.address.url}: ")
            await asyncio.sleep(LOOK_S)
        else:
            return
    raise BenchError(f"{server.adapter.title} was not healthy within {wait_s:g} s ({why}){server._last()}")


async def _evidence(server: Server) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in server.adapter.evidence:
        try:
            found[path] = await fetch(server.address, path, None, wait_s=EVIDENCE_S)
            canonical_json(found[path])  # NaN, which some servers write, could not be kept
        except BenchError as bad:
            found[path] = f"not read: {bad}"
    return found


def _lacks_a_package(said: str) -> bool:
    """Return whether the last words of a server say that something is not installed; of a wrong
    argument or of a file that is not there they do not."""
    return re.search(r"No module named|ImportError|PackageNotFoundError|exit code 127", said) is not None


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"by signal {-code}"
