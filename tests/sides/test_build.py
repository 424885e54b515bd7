"""What is installed for a side, where its project is, and what both sides have below their own packages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from proof import repositories

from bench.config.settings import BuildBlock
from bench.errors import BenchError, UsageError
from bench.machine.proc import stat_of
from bench.machine.process_tree import run_whole
from bench.sides import build as building
from bench.sides import commands
from bench.sides.build import Built, build
from bench.sides.declared import pip_arguments
from bench.sides.differences import packages
from bench.sides.layer import layer
from bench.sides.repository import Repository


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


def test_no_setting_of_pip_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides would be installed into one place, the second over the first. One build is enough for all
    settings: pip fails, or installs into the other place, as soon as it is given one of them."""
    for name in ("PIP_PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / "another"))
    built = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"})
    assert packages(built.packages) == {"helperlib": "1.0"}
    assert not (tmp_path / "another").exists()


@pytest.mark.parametrize("option", ["--target", "--target=lib", "-tlib", "--prefix=x", "--user", "--dry-run"])
def test_no_argument_of_pip_leads_elsewhere(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"build.install: {option} installs somewhere else"):
        pip_arguments(tmp_path, tmp_path, BuildBlock(install=(option, "lib", "helperlib")))
    fine = ("--pre", "--no-deps", "--timeout=5", "--root-user-action=ignore", "-r", "target.txt")
    assert pip_arguments(tmp_path, tmp_path, BuildBlock(install=fine)) == [list(fine)]


@pytest.mark.parametrize(
    "name", ["UV_NO_INSTALL_PROJECT", "UV_NO_INSTALL_WORKSPACE", "UV_NO_INSTALL_LOCAL", "UV_DRY_RUN"]
)
def test_no_setting_of_uv_keeps_the_project_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images for containers have these, so that the packages are a layer of their own."""
    monkeypatch.setenv(name, "1")
    monkeypatch.setenv("UV_INDEX_STRATEGY", "first-index")
    given, withheld = commands.settings()
    assert name not in given
    assert withheld == []
    assert given["UV_INDEX_STRATEGY"] == "first-index"


def test_installing_for_the_user_is_no_matter_of_a_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images for containers say so in a pip.conf or in the environment."""
    (tmp_path / "pip.conf").write_text("[install]\nuser = true\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_USER", "1")
    built = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"})
    assert packages(built.packages) == {"helperlib": "1.0"}


def test_other_constraints_or_flags_of_the_compiler_are_another_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a base that was built with the old ones would be compared with a candidate of the new ones."""
    held = tmp_path / "held.txt"
    held.write_text("helperlib==1.0\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(held))
    first = made(tmp_path, {"requirements.txt": "helperlib\n"})
    assert packages(first.packages) == {"helperlib": "1.0"}
    held.write_text("helperlib==2.0\n")
    second = made(tmp_path, {})
    assert packages(second.packages) == {"helperlib": "2.0"}
    monkeypatch.setenv("CFLAGS", "-O1")
    assert len({first.home, second.home, made(tmp_path, {}).home}) == 3


@pytest.mark.parametrize(
    "setting", [("core.autocrlf", "true"), ("filter.lower.smudge", "tr A-Z a-z"), ("core.eol", "crlf")]
)
def test_other_settings_of_checkouts_are_another_side(tmp_path: Path, setting: tuple[str, str]) -> None:
    """A base that was made before they changed, or before Git LFS was installed, has other files."""
    files = {"a.txt": "ONE\n", ".gitattributes": "a.txt text filter=lower\n"}
    first = made(tmp_path, files)
    repositories.git(tmp_path / "repo", "config", *setting)
    second = made(tmp_path, {})
    assert (first.source / "a.txt").read_bytes() != (second.source / "a.txt").read_bytes()
    assert (first.home != second.home, first.content != second.content) == (True, True)
    repositories.git(tmp_path / "repo", "config", "user.name", "somebody else")
    assert made(tmp_path, {}) == second


def test_the_pip_of_a_command_is_that_of_the_side(tmp_path: Path) -> None:
    """By its name it would be the pip of the job, which installs where the job's Python is."""
    built = made(
        tmp_path, {"ci/list.txt": "helperlib==2.0\n"}, install=(), commands=("pip install -r ci/list.txt",)
    )
    assert packages(built.packages)["helperlib"] == "2.0"
    assert importlib.util.find_spec("helperlib") is None


def test_the_content_of_a_side_does_not_depend_on_its_commit_or_place(tmp_path: Path) -> None:
    files = {"requirements.txt": "helperlib==1.0\n", "a.py": ""}
    first = made(tmp_path, files)
    repositories.git(tmp_path / "repo", "commit", "--quiet", "--amend", "-m", "other words")
    again = made(tmp_path, {})
    assert first.home != again.home
    assert first.content == again.content != ""
    other = made(tmp_path, {}, commands=("echo x > made.txt",))
    assert other.content != first.content, "a file that a command makes is part of it"
    assert made(tmp_path, {}, install=()).content != first.content, "and so are its packages"


def test_the_content_of_a_package_is_known_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel of the same version can be another one."""
    first = made(tmp_path, {"requirements.txt": "helperlib==1.0\n"})
    wheels = tmp_path / "others"
    wheels.mkdir()
    repositories.wheel(wheels, "helperlib", "1.0", "FACTOR = 7\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    second = made(tmp_path, {})
    assert said(second, "import helperlib; print(helperlib.FACTOR)") == "7"
    assert first.content != second.content


def test_a_project_that_pip_cannot_install_says_what_to_do(tmp_path: Path) -> None:
    """Its pyproject.toml has settings of tools and metadata, and nothing that could be built."""
    toml = "[project]\nname = 'x'\nversion = '1'\n[build-system]\nrequires = []\nbuild-backend = 'nowhere'\n"
    with pytest.raises(BenchError, match=r"`pip install \.` failed") as caught:
        made(tmp_path, {"pyproject.toml": toml})
    assert "give build: {install: [-r, requirements.txt]}, or {install: []}" in str(caught.value)


def test_what_is_installed_beside_the_tool_counts_where_a_side_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homes() -> list[Path]:
        return [made(tmp_path, {"a.py": ""}, inherit=inherit).home for inherit in ("all", "none")]

    before = homes()
    monkeypatch.setattr(building, "installed_beside", lambda python: "another package")
    assert [one == other for one, other in zip(before, homes(), strict=True)] == [False, True]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools")
def test_the_search_for_pip_leaves_imports_as_they_are() -> None:
    """Otherwise a package that builds kernels could not be imported in this process any more."""
    code = (
        "import sys; from pathlib import Path; from bench.sides.commands import own_pip; "
        "own_pip(Path(sys.executable)); import distutils.core, setuptools"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
