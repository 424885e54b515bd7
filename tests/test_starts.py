"""Every place in which a process is started, what it is for, and that it gets an environment of its own.

Who starts another process has to write it down here: what it is given is in a table of
``docs/security.md``.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from test_layers import modules, tree

ROOT = Path(__file__).resolve().parents[1]
# Whatever starts a process, by the last part of its name and what stands before it.
STARTERS = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "pty": {"spawn", "fork"},
    "multiprocessing": {"Process", "Pool", "get_context", "Manager"},
    # The standard library asks a program here, which it takes from the first place on PATH that has one.
    "platform": {"architecture", "platform", "processor", "uname"},
    "uuid": {"getnode", "uuid1"},
    "ctypes.util": {"find_library"},
    "webbrowser": {"open"},
}
OURS = {"run_whole", "run_child", "ProcessPoolExecutor"}
# (module, what it calls): the row of the table in docs/security.md.
KNOWN = {
    ("cli.run_pages", "ProcessPoolExecutor"): "a reader of many runs",
    ("cli.run_pages", "multiprocessing.get_context"): "a reader of many runs",
    ("engine.further", "subprocess.Popen"): "the cloud of a split, and the parts of a model on several",
    ("environments", "run_whole"): "the look into an interpreter",
    ("machine.devices", "subprocess.run"): "nvidia-smi",
    ("machine.process_tree", "subprocess.Popen"): "whoever calls it says what",
    ("__main__", "os.execv"): "this program itself, without PYTHONINSPECT",
    ("measure.lm_eval_tasks", "run_child"): "lm-eval, which writes and judges",
    ("measure.worker_process", "subprocess.Popen"): "worker",
    ("models.child", "subprocess.Popen"): "whoever calls it says what",
    ("models.fetch", "run_child"): "the download from the hub",
    ("models.wheel", "run_child"): "pip, to fetch",
    ("plan.ceilings", "run_whole"): "the measurement of ceilings",
    ("results.index_listing", "os.fork"): "a reader of many runs",
    ("runtimes.command", "subprocess.Popen"): "your own program",
    ("scale.node", "subprocess.Popen"): "a run of a campaign",
    ("serving.drift", "subprocess.Popen"): "the baseline of a server",
    ("serving.environment_build", "subprocess.Popen"): "pip, to make the environment of an engine",
    ("serving.keeper", "subprocess.Popen"): "a server and its keeper",
    ("serving.server", "subprocess.Popen"): "a server and its keeper",
    ("sides.commands", "run_whole"): "the build of a commit",
    ("sides.git", "run_whole"): "git",
    ("store.compacted", "subprocess.Popen"): "the reader of a compacted journal",
}
# What has no ``env=``: it hands on the environment of a process that was given an allow-list itself.
INHERITS = {("serving.keeper", "subprocess.Popen")}


def starts(source: ast.Module) -> list[tuple[str, ast.Call]]:
    """Every call in a module that starts a process, with its name."""
    found = []
    for node in ast.walk(source):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        before, _, last = name.rpartition(".")
        if name in OURS or last in STARTERS.get(before, ()) or _execs(before, last):
            found.append((name, node))
    return found


def _execs(before: str, last: str) -> bool:
    return before == "os" and last.startswith(("exec", "spawn"))


def test_every_start_of_a_process_is_known() -> None:
    found = {(module, name) for module in modules() for name, _call in starts(tree(module))}
    assert found == KNOWN.keys()


def test_nothing_that_starts_processes_is_imported_by_another_name() -> None:
    """``from subprocess import run`` would escape the list."""
    hidden = [
        f"{module}: from {node.module} import …"
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module in STARTERS
        if {alias.name for alias in node.names} & STARTERS[node.module]
    ]
    assert hidden == []


def test_each_says_what_it_hands_on() -> None:
    """A start without ``env=`` hands on all that the user has, tokens and passwords too."""
    silent = {
        (module, name)
        for module in modules()
        for name, call in starts(tree(module))
        if name.startswith("subprocess.") and "env" not in {word.arg for word in call.keywords}
    }
    assert silent == INHERITS


@pytest.mark.parametrize("row", sorted(set(KNOWN.values()) - {"whoever calls it says what"}))
def test_the_guide_says_what_it_gets(row: str) -> None:
    guide = (ROOT / "docs" / "security.md").read_text()
    assert f"\n| {row}" in guide


@pytest.mark.parametrize(
    "line",
    [
        "os.execvp('a', [])",
        "subprocess.run('a')",
        "os.spawnl(0, 'a')",
        "pty.spawn('a')",
        "run_whole()",
        "platform.processor()",
    ],
)
def test_a_new_start_is_seen(line: str) -> None:
    assert len(starts(ast.parse(line))) == 1
