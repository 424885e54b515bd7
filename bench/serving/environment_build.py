"""Run the steps that make the environment of a server, with pip in a new interpreter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bench.environments import INSTALL_S
from bench.errors import BenchError
from bench.formatting import printed_line
from bench.machine.children import LINES, NOWHERE, SAFE, environment
from bench.machine.proc import ending_with_parent
from bench.machine.process_tree import end_family, ending, marked
from bench.serving.engines.recipe import Recipe
from bench.store.directories import delete

# An index beside pip's own, with the CPU builds of PyTorch. scripts/environment.sh reads the same variable.
TORCH_INDEX = "BENCH_TORCH_INDEX"
PREFIXES = ("PIP_", "SSL_")
LARGE_MB = 10
_DOWNLOAD = re.compile(r"Downloading (\S+) \(([\d.]+) (MB|GB)\)")
_INSTALL = re.compile(r"Installing collected packages: (.+)")
# Runs in the new interpreter, whose markers count; pip brings a parser of requirements with it.
_REQUIREMENTS = """
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
name, extras, without = sys.argv[1], [*sys.argv[2].split(","), ""], sys.argv[3].split(",")
for text in importlib.metadata.requires(name) or ():
    one = Requirement(text)
    if one.name not in without and (not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras)):
        one.marker = None
        print(one)
"""
Say = Callable[[str], None]


def python_of(home: Path) -> Path:
    """Return the interpreter of the environment in a directory."""
    return home / "venv" / "bin" / "python"


class EnvironmentBuild:
    """The steps of one environment, each a method."""

    def __init__(self, home: Path, recipe: Recipe, say: Say) -> None:
        self._home, self._recipe, self._say = home, recipe, say
        self._python = [str(python_of(home)), "-P"]
        index = os.environ.get(TORCH_INDEX)
        more = ["--extra-index-url", index] if index else []
        pip = ["-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
        self._pip = [*self._python, *pip, *more]

    def steps(self) -> list[tuple[str, Callable[[], object]]]:
        """Return what is said of each step, and the step."""
        recipe = self._recipe
        left_out = f" without {', '.join(recipe.without)}" if recipe.without else ""
        return [
            ("a new environment", self._begin),
            *([(" ".join(recipe.first), self._first)] if recipe.first else []),
            (f"{recipe.package} itself", self._package),
            (f"its requirements{left_out}", self._requirements),
            *([(f"its name {recipe.called[0]}", self._name)] if recipe.called else []),
            (f"import {recipe.module}", self._imported),
        ]

    def _begin(self) -> None:
        delete(self._home / "venv")
        self._run([sys.executable, "-P", "-m", "venv", str(self._home / "venv")])

    def _first(self) -> None:
        try:
            self._run([*self._pip, *self._recipe.first])
        except BenchError as bad:
            raise BenchError(f"{bad}\n  {self._recipe.hint}") from None

    def _package(self) -> None:
        self._run([*self._pip, "--no-deps", self._recipe.package])

    def _requirements(self) -> None:
        """Install what the package asks for and imports; ``first`` stands beside it, so that nothing replaces
        that."""
        one = self._recipe
        wanted = self._run(
            [*self._python, "-c", _REQUIREMENTS, one.distribution, one.extras, ",".join(one.without)]
        )
        if wanted or one.also:
            self._run([*self._pip, *one.first, *wanted, *one.also])

    def _name(self) -> None:
        assert self._recipe.called is not None
        name, version = self._recipe.called
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        info = Path(self._run([*self._python, "-c", ask])[-1]) / f"{name}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def _imported(self) -> None:
        self._run([*self._python, "-c", f"import {self._recipe.module}"])

    def _run(self, command: list[str]) -> list[str]:
        """Run a command, tell what takes long in it, and return its lines. Raises BenchError."""
        lines: list[str] = []
        given, late = marked(environment(*PREFIXES) | SAFE), threading.Event()

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                cwd=NOWHERE, text=True, errors="replace", env=given, start_new_session=True,
                preexec_fn=ending_with_parent(signal.SIGKILL),
            )  # fmt: skip

        with ending(start, given) as child, child:

            def end() -> None:
                late.set()
                end_family(child, given)

            timer = threading.Timer(INSTALL_S, end)
            timer.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    lines.append(line.strip())
                    self._tell(line)
                child.wait()
            finally:
                timer.cancel()
                end_family(child, given)
        if child.returncode or late.is_set():
            printed = [line for line in lines if line][-LINES:]
            last = [printed_line(line, 500) for line in printed]
            if late.is_set():
                last.insert(
                    0, f"no end within {INSTALL_S:g} s, so it was ended, with all that it had started"
                )
            raise BenchError("\n  ".join(last) or f"exit code {child.returncode}")
        return lines

    def _tell(self, line: str) -> None:
        if found := _DOWNLOAD.search(line):
            if found[3] == "GB" or float(found[2]) >= LARGE_MB:
                self._say(f"    {found[1].rpartition('/')[2]}: {found[2]} {found[3]}")
        elif found := _INSTALL.search(line):
            self._say(f"    installing {len(found[1].split(', '))} packages")
