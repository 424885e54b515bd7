"""What is installed for a side, where its project is, and what both sides have below their own packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from proof import repositories

from bench.config.blocks import BuildBlock
from bench.errors import BenchError, UsageError
from bench.machine.family import run_whole
from bench.machine.proc import stat_of
from bench.sides import build as building
from bench.sides import commands
from bench.sides.build import Built, build
from bench.sides.differences import packages
from bench.sides.layer import layer
from bench.sides.repository import Repository

TOML = "[project]\nname = 'x'\nversion = '1'\n"


def project(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "block", "asked"),
    [
        ({}, {}, []),
        ({"pyproject__toml": "[tool.ruff]\n"}, {}, []),
        ({"pyproject__toml": TOML}, {}, [["."]]),
        ({"setup__py": ""}, {}, [["."]]),
        ({"requirements__txt": "a\n"}, {}, [["-r", "requirements.txt"]]),
        ({"requirements__txt": "a\n", "pyproject__toml": TOML}, {}, [["-r", "requirements.txt"], ["."]]),
        ({"requirements__txt": "a\n-e .\n", "pyproject__toml": TOML}, {}, [["-r", "requirements.txt"]]),
        ({"requirements__txt": ".[x]  # ours\n", "pyproject__toml": TOML}, {}, [["-r", "requirements.txt"]]),
        ({"requirements__txt": "./lib\n", "pyproject__toml": TOML}, {}, [["-r", "requirements.txt"], ["."]]),
        (
            {"requirements__txt": "a\n", "requirements__lock": "a==1\n", "pyproject__toml": TOML},
            {},
            [["-r", "requirements.lock"], ["."]],
        ),
        ({"uv__lock": "", "pyproject__toml": TOML}, {}, []),
        ({"uv__lock": "", "pyproject__toml": TOML}, {"tool": "pip"}, [["."]]),
        ({"uv__lock": "", "pyproject__toml": TOML}, {"install": ("-e", ".[x]")}, [["-e", ".[x]"]]),
        ({"pyproject__toml": TOML}, {"install": ()}, []),
    ],
)  # fmt: skip
def test_what_pip_installs(
    files: dict[str, str], block: dict[str, object], asked: list[list[str]], tmp_path: Path
) -> None:
    assert building._pip_arguments(project(tmp_path, **files), BuildBlock(**block)) == asked  # type: ignore[arg-type]


def test_uv_without_a_lock_file_is_not_pip(tmp_path: Path) -> None:
    """Whoever asks for uv wants locked versions."""
    with pytest.raises(UsageError, match=r"build\.tool: uv .* this project has none"):
        building._pip_arguments(project(tmp_path, pyproject__toml=TOML), BuildBlock(tool="uv"))


def made(tmp_path: Path, files: dict[str, str], inside: str = "", **block: object) -> Built:
    """Build the one commit of a repository with these files; nothing is below, where pip would look, too."""
    at = tmp_path / "repo"
    if not at.exists():
        at.mkdir()
        repositories.git(at, "init", "--quiet")
        repositories.commit(at, files)
    repository = Repository(at)
    commit = repository.find("HEAD")
    assert commit is not None
    given = BuildBlock(**{"inherit": "none", **block})
    return build(repository, commit, Path(inside), given, lambda text: None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _wheels(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repositories.wheelhouse(tmp_path / "wheels")))


def said(built: Built, code: str) -> str:
    command = [str(built.python), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_project_is_the_nearest_that_declares_something(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "helperlib==1.0\n",
        "services/a/requirements.txt": "helperlib==2.0\n",
        "services/a/configs/ci.yaml": "",
        "services/b/ci.yaml": "",
    }
    a, b = (made(tmp_path, files, inside) for inside in ("services/a/configs", "services/b"))
    assert (a.project, b.project) == (a.source / "services/a", b.source)
    assert a.home != b.home, "two directories of one repository have environments of their own"
    assert packages(a.packages) == {"helperlib": "2.0"}
    assert packages(b.packages) == {"helperlib": "1.0"}
    named = made(tmp_path, files, "services/b", directory="services/a")
    assert packages(named.packages) == {"helperlib": "2.0"}


def test_a_side_is_made_once(tmp_path: Path) -> None:
    first = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"})
    assert first.home.stat().st_mode & 0o077 == 0, "nobody else reads the code in it"
    stamp = first.python.lstat().st_mtime_ns
    assert made(tmp_path, {}) == first
    assert first.python.lstat().st_mtime_ns == stamp
    (first.home / "complete").unlink()
    made(tmp_path, {})
    assert first.python.lstat().st_mtime_ns != stamp, "one that was not finished is made again"


def test_below_a_side_are_the_engines_and_nothing_of_the_users(tmp_path: Path) -> None:
    """pytest is installed here, beside the tool; no side may borrow it."""
    usual = BuildBlock().inherit
    built = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"}, inherit=usual)
    find = "import importlib.util as u; print([bool(u.find_spec(n)) for n in {!r}])"
    names = ["torch", "transformers", "numpy", "helperlib", "pytest", "hypothesis", "mypy"]
    assert said(built, find.format(names)) == str([True] * 4 + [False] * 3)
    everything = made(tmp_path, {}, inherit="all")
    assert said(everything, find.format(["pytest", "torch"])) == "[True, True]"
    nothing = made(tmp_path, {}, inherit="none")
    assert said(nothing, find.format(["torch", "helperlib"])) == "[False, True]"


def test_the_layer_alone_is_enough_for_an_engine() -> None:
    program = f"import sys; sys.path.insert(0, {str(layer())!r}); import torch; print(torch.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(layer()))


def test_commands_run_first_and_in_the_project(tmp_path: Path) -> None:
    files = {"sub/requirements.txt": "helperlib==1.0\n"}
    built = made(tmp_path, files, "sub", commands=("echo helperlib==2.0 > requirements.txt",))
    assert packages(built.packages) == {"helperlib": "2.0"}
    assert (tmp_path / "repo" / "sub" / "requirements.txt").read_text() == "helperlib==1.0\n"


def test_a_build_that_fails_says_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        made(tmp_path, {"requirements.txt": "no-such-package==9\n"})
    assert "`pip install -r requirements.txt` failed" in str(caught.value)
    assert "no-such-package" in str(caught.value)
    with pytest.raises(BenchError, match="false_program"):
        made(tmp_path, {}, commands=("false_program",))
    with pytest.raises(UsageError, match="there is no nowhere in this commit"):
        made(tmp_path, {}, directory="nowhere")


def test_a_build_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(command: list[str], given: dict[str, str], limit_s: float, cwd: Path) -> object:
        return run_whole(command, given, 1.0 if command[0] == "/bin/sh" else limit_s, cwd)

    monkeypatch.setattr(commands, "run_whole", hasty)
    pid = tmp_path / "pid"
    slow = f"echo compiling; sh -c 'sleep 300 & echo $! > {pid}; wait'"
    with pytest.raises(BenchError) as caught:
        made(tmp_path, {"a": ""}, commands=(slow,))
    said = str(caught.value)
    assert f"build.commands: `{slow}` failed" in said
    assert "no end within 1 s, so it was ended, with all that it had started" in said
    assert "compiling" in said
    assert stat_of(int(pid.read_text()))[:1] in ([], ["Z"])


def test_secrets_do_not_reach_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "xyzzy")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://user:xyzzy@example.org/simple")
    monkeypatch.setenv("UV_INDEX", "https://xyzzy@example.org/simple")
    built = made(tmp_path, {"a": ""}, commands=("env > seen.txt",))
    assert "xyzzy" not in (built.project / "seen.txt").read_text()
    with pytest.raises(BenchError, match=r"kept from the build.*PIP_EXTRA_INDEX_URL, UV_INDEX\)"):
        made(tmp_path, {}, commands=("false",))


@pytest.mark.parametrize("bad", ["/abs", "../up", "a/../../b"])
def test_a_directory_outside_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="within the repository"):
        BuildBlock(directory=bad)


def test_no_setting_of_pip_leads_to_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_PYTHON", str(tmp_path / "another"))
    built = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"})
    assert packages(built.packages) == {"helperlib": "1.0"}
