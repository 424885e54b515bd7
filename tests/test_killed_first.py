"""When memory runs out, the kernel ends a process of ours that holds a model, and no other program."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_layers import modules, tree

ROOT = Path(__file__).resolve().parents[1]
CALL = "be_killed_first()"
SCORE = "/proc/self/oom_score_adj"
# What may run as a process of its own and holds no model, with what it does.
HOLDS_NO_MODEL = {
    "__main__": "the command itself",
    "machine.installed": "lists what is installed in an interpreter",
    "models.hub": "writes a download to the disk",
    "serving.engines.llama_cpp_program": "a server: its keeper lets it be killed first",
    "serving.inside.program": "an engine in process: its keeper lets it be killed first",
    "store.parquet_numbers": "reads the numbers of a file, with a limit of memory of its own",
    "serving.keeper": "waits for the server, and lets it be killed first",
}
needs_proc = pytest.mark.skipif(not Path(SCORE).exists(), reason="needs Linux")


def entry_points() -> dict[str, ast.If]:
    """Every module that may be run as a program, with what it then does."""
    return {
        module: node
        for module in modules()
        for node in tree(module).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
    }


def marks_itself(module: str, entry: ast.If) -> bool:
    """Whether a program calls the function before anything else, or in its ``main``."""
    mains = [node for node in tree(module).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    first = ast.unparse(entry.body[0])
    return first == CALL or (
        first == "main()" and any(ast.unparse(line) == CALL for main in mains for line in main.body)
    )


@pytest.mark.parametrize("module", sorted(entry_points().keys() - HOLDS_NO_MODEL.keys()))
def test_a_process_that_holds_a_model_is_killed_first(module: str) -> None:
    assert marks_itself(module, entry_points()[module])


def test_the_others_are_known() -> None:
    """A new program either calls the function, or stands in the list with its reason."""
    found = entry_points()
    assert HOLDS_NO_MODEL.keys() <= found.keys()
    assert not [module for module in HOLDS_NO_MODEL if marks_itself(module, found[module])]
    assert {"worker.__main__", "worker.external_logprobs", "models.convert", "models.lora"} <= found.keys()


def test_nothing_else_writes_the_score() -> None:
    told = [module for module, path in modules().items() if "oom_score_adj" in path.read_text()]
    assert told == ["machine.proc"]


def scores(code: str, *arguments: str) -> list[str]:
    """What a child prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@needs_proc
def test_what_it_starts_is_killed_first_too() -> None:
    code = (
        "import subprocess; from bench.machine.proc import be_killed_first; be_killed_first();"
        f"print(open({SCORE!r}).read()); print(subprocess.check_output(['cat', {SCORE!r}], text=True))"
    )
    assert scores(code) == ["1000", "1000"]


@needs_proc
def test_where_it_cannot_be_said_nothing_ends() -> None:
    code = (
        "from pathlib import Path; from bench.machine import proc\n"
        "def write_text(*_given): raise PermissionError\n"
        "Path.write_text = write_text; proc.be_killed_first(); print('goes on')"
    )
    assert scores(code) == ["goes", "on"]


@needs_proc
def test_a_server_is_killed_before_its_keeper(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "bench.serving.keeper", str(log), "1", "1", "", "--", "/bin/cat", SCORE],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as keeper:  # fmt: skip
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"ended 0\n"
    assert log.read_text().strip() == "1000"
