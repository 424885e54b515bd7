"""Your own program: it reads requests as JSON lines on stdin and writes one JSON line for each answer.

A request is ``{"prompt": "...", "max_tokens": 32}``, an answer ``{"text": "..."}``. With ``each: true`` the
program is started anew for every request; then the prompt is its stdin and its stdout is the answer. It runs
in the directory of its side, with the side's environment first on the path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from bench.engine import Options
from bench.engine.answers import MAX_ANSWER, AnsweringEngine
from bench.engine.program_output import all_of, has_more, next_line, read_part
from bench.errors import Outcome, VariantFailed

REQUIRES = ("tokenizers",)
DTYPES = ("float32", "bfloat16", "float16")
WHOLE_ANSWERS = True
MOST_BYTES = 4 * MAX_ANSWER
OPAQUE = True  # nobody sees which files of its commit the program reads


@dataclass(frozen=True)
class Params:
    """``command``: the program and its arguments. ``each``: start it for every request. ``timeout_s``: for
    one answer."""

    command: tuple[str, ...]
    each: bool = False
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not self.command or not 0 < self.timeout_s <= 86400:
            raise ValueError("command must name a program, timeout_s must be above 0 and at most a day")


def load(directory: Path, options: Options) -> CommandEngine:
    """Start the program, unless every request starts it. Raises VariantFailed if it cannot be started."""
    return CommandEngine(directory, options)


class CommandEngine(AnsweringEngine):
    """Hold the running program."""

    def __init__(self, directory: Path, options: Options) -> None:
        own = options.own
        self._command = [str(part) for part in own["command"]]
        super().__init__(directory, options, " ".join(self._command))
        self._timeout_s = float(own["timeout_s"])
        binaries = str(Path(sys.executable).parent)
        # Your own program may import what lies beside it, which what a library starts may not.
        given = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
        self._environment = {
            **given,
            "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        self._process = None if own["each"] else self._start()
        self.programs = () if self._process is None else (self._process.pid,)

    def _start(self, asked: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(self._command, stdin=asked, stdout=subprocess.PIPE, env=self._environment)
        except OSError as bad:
            reason = f"cannot start {self._command[0]}: {bad.strerror}"
            raise VariantFailed(Outcome.LOAD_ERROR, reason) from None

    def answer(self, prompt: str, longest: int) -> str:
        """Send the request and wait for its answer."""
        if self._process is None:
            return self._once(prompt)
        line = json.dumps({"prompt": prompt, "max_tokens": longest}).encode() + b"\n"
        assert self._process.stdin is not None, "it was opened as a pipe"
        assert self._process.stdout is not None, "it was opened as a pipe"
        if self._process.poll() is None and has_more(self._process.stdout):
            raise self._refused(read_part(self._process.stdout))  # it would be taken for the answer
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._left() from None
        return self._text_in(self._line(self._process.stdout))

    def _once(self, prompt: str) -> str:
        with TemporaryFile() as asked:
            asked.write(prompt.encode())
            asked.seek(0)
            with self._start(asked) as program:
                assert program.stdout is not None, "it was opened as a pipe"
                try:
                    said = all_of(program.stdout, self._timeout_s, MOST_BYTES)
                    if len(said) <= MOST_BYTES:
                        program.wait(self._timeout_s)
                except (TimeoutError, subprocess.TimeoutExpired):  # a child of it may hold the pipe
                    program.kill()
                    raise VariantFailed(Outcome.TIMEOUT, f"no answer within {self._timeout_s:g} s") from None
                if len(said) > MOST_BYTES:
                    program.kill()
                    raise VariantFailed(
                        Outcome.RUN_ERROR, f"{self._command[0]} wrote more than {MOST_BYTES} bytes"
                    )
        if program.returncode:
            raise VariantFailed(
                Outcome.RUN_ERROR, f"{self._command[0]} left with exit code {program.returncode}"
            )
        return said.decode(errors="replace")

    def _line(self, stream: IO[bytes]) -> bytes:
        """Return the line of an answer. It may come in parts, and has to end in time."""
        try:
            line = next_line(stream, self._timeout_s, MOST_BYTES)
        except TimeoutError:
            raise VariantFailed(Outcome.TIMEOUT, f"no answer within {self._timeout_s:g} s") from None
        if b"\n" not in line and len(line) <= MOST_BYTES:
            raise self._left()
        if line.find(b"\n") + 1 != len(line):
            raise self._refused(line)
        return line

    def _text_in(self, line: bytes) -> str:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("text"), str):
            raise self._refused(line)
        return str(found["text"])

    def _refused(self, said: bytes) -> VariantFailed:
        """Return the failure of a program that wrote something else than one line for each request."""
        if not said:
            return self._left()
        shown = said[:80].decode(errors="replace").strip()
        reason = f'the answer must be {{"text": "..."}} on one line, not {shown!r}'
        return VariantFailed(Outcome.RUN_ERROR, reason)

    def _left(self) -> VariantFailed:
        assert self._process is not None, "only a running program can leave"
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return VariantFailed(Outcome.RUN_ERROR, f"{self._command[0]} closed its output")
        return VariantFailed(Outcome.RUN_ERROR, f"{self._command[0]} left with exit code {code}")
