"""Measure one piece on the machine where this runs, by an ordinary ``bench run``, and read its files out.

This class is used as it is on the machine in front of the user, and as an actor on others; so its arguments
and results are plain values.
"""

from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bench.bounded import KEPT_OF_A_LOG, open_regular
from bench.machine.package_places import python_path
from bench.machine.proc import ending_with_parent
from bench.records.json_form import Json
from bench.runs.directory import LOGS
from bench.store.directories import files_below
from bench.store.scratch_directory import ScratchDirectory
from bench.store.source import source_digest

MOST_BYTES = 4 * 2**20  # of one file at a time
GRACE_S = 60.0
OUT = "out"
FOREIGN = ("RAY_",)  # what a scheduler adds to the environment is not for the run


class NodeRun:
    """A ``bench run`` of one config on this machine, in a directory of its own; another one after it."""

    def __init__(self) -> None:
        self._scratch: ScratchDirectory | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = -1
        self._sent: dict[Path, int] = {}
        self._rest = b""  # of its standard error: the beginning of a line

    @property
    def _place(self) -> Path:
        """Return the directory of the run that has begun, a new one if none has."""
        if self._scratch is None:
            self._scratch = ScratchDirectory("piece")
        return self._scratch.path

    def about(self) -> dict[str, str]:
        """Return the name of this machine, and the digest of the harness that is installed on it."""
        return {"host": platform.node(), "source": source_digest()}

    def usual_priority(self) -> int:
        """Give this process, and so the run that it begins, the priority of the process that started it.

        Ray starts its workers with a niceness of 15, with which every other program of the node comes first.
        Returns by how much the niceness is still higher: 0, unless this user may not lower it.
        """
        usual = os.getpriority(os.PRIO_PROCESS, os.getppid())
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)
        return os.getpriority(os.PRIO_PROCESS, 0) - usual

    def begin(self, text: str, directory: str) -> str | None:
        """Begin the run of a config, given as text. ``directory`` is where its relative paths begin.

        Returns why it cannot begin here, or None.
        """
        if not Path(directory).is_dir():
            return f"there is no directory {directory} on it, where the paths of the config begin"
        config = self._place / "config.yaml"
        config.write_text(text, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "bench", "run", str(config), "--out", str(self._place / OUT)]
        with (self._place / "said").open("wb") as said:
            self._child = subprocess.Popen(
                command, cwd=directory, env=_environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=said, start_new_session=True,
                preexec_fn=ending_with_parent(signal.SIGTERM),
            )  # fmt: skip
        self._ended = os.pidfd_open(self._child.pid)
        return None

    def more(self, wait_s: float) -> Json:
        """Wait until the run ends, but not longer than ``wait_s``; return what it wrote since the last call.

        ``chunks`` are (file, place, bytes) of the run's directory, ``said`` its whole new lines on standard
        error, and ``code`` its exit code once it has ended and everything has been read out.
        """
        assert self._child is not None
        select.select([self._ended], [], [], wait_s)
        code = self._child.poll()  # before the files are read, so that nothing is written after the reading
        chunks = [chunk for path in self._files() if (chunk := self._new(path))]
        files = [*self._files(), self._place / "said"]
        told = self._new(files[-1])
        whole = all(path.stat().st_size == self._sent.get(path, 0) for path in files)
        *lines, self._rest = (self._rest + (told[2] if told else b"")).split(b"\n")
        if code is not None and whole and self._rest:
            lines.append(self._rest)
        said = [self._without_place(line.decode(errors="replace")) for line in lines]
        return {"chunks": chunks, "said": said, "code": code if whole else None}

    def _without_place(self, line: str) -> str:
        """Return what a run said without the directory that goes with it: its files are kept elsewhere."""
        return line.replace(f"{self._place / OUT}/", "").replace(f"{self._place}/", "")

    def stop(self) -> None:
        """Ask the run to end now. It keeps what was measured."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End the run, if it has not ended, and remove its directory. Then another one may begin."""
        self.stop()
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(GRACE_S)
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            os.close(self._ended)
            self._child = None
        if self._scratch is not None:
            self._scratch.delete()
        self._scratch, self._sent, self._rest = None, {}, b""

    def _files(self) -> list[Path]:
        """Return the files of the run as far as there are any."""
        out = self._place / OUT
        return sorted(
            path
            for path in files_below(out)
            if path.parent != out
            and path.is_file()
            and not path.is_symlink()
            and not path.name.startswith(".")
        )

    def _new(self, path: Path) -> tuple[str, int, bytes] | None:
        """Return what a file holds behind what was sent of it: its name below the run's directory, the place,
        and the bytes. ``run.json`` is replaced and not appended to, so it is read when the run has ended. Of
        a log, the middle may be taken out meanwhile, so only its beginning is read before."""
        unfinished = self._child is not None and self._child.poll() is None
        if path.name == "run.json" and unfinished:
            return None
        begin = self._sent.get(path, 0)
        beginning_only = unfinished and path.parent.name == LOGS
        most = max(KEPT_OF_A_LOG - begin, 0) if beginning_only else MOST_BYTES
        with open_regular(path, follow=False) as file:
            file.seek(begin)
            content = file.read(min(most, MOST_BYTES))
        if not content:
            return None
        self._sent[path] = begin + len(content)
        out = self._place / OUT
        name = str(path.relative_to(out)) if path.is_relative_to(out) else path.name
        return name, begin, content


def _environment() -> dict[str, str]:
    ours = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return {**ours, **python_path()}
