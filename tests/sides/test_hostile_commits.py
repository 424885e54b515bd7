"""Commits and builds of a stranger: what their files, places and leftovers do to a gate."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from deep_directories import DEPTH
from proof import repositories

from bench.cli.gate_run import GateOptions, judged
from bench.config.settings import BuildBlock
from bench.errors import BenchError
from bench.formatting import MIB
from bench.sides.build import build
from bench.sides.commands import BuildFailed, settings
from bench.sides.content import content
from bench.sides.differences import pointers
from bench.sides.repository import Repository
from bench.store import tree

PASSWORD = "hunter2hunter2"


def imported(at: Path, files: dict[bytes, bytes]) -> Repository:
    """Return a repository of one commit with these files, as `git add` might refuse to make it."""
    at.mkdir()
    repositories.git(at, "init", "--quiet")
    stream = b"commit refs/heads/main\ncommitter x <x@localhost> 0 +0000\ndata 1\nx\n"
    for name, text in files.items():
        stream += b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text)
    command = ["git", "-C", str(at), "fast-import", "--quiet"]
    subprocess.run(command, input=stream, check=True, capture_output=True)
    return Repository(at)


def test_directories_in_each_other_are_a_commit_like_any_other(tmp_path: Path) -> None:
    """They ended the gate as a bug of the program, and the checkout could not be deleted by the next one."""
    lfs = b"* filter=lfs\n"
    repository = imported(tmp_path / "repo", {b"a/" * DEPTH + b"last": b"x", b".gitattributes": lfs})
    commit, source = repository.find("main"), tmp_path / "out" / "source"
    assert commit is not None
    try:
        repository.check_out(commit, source)
        known = set(repository.files(commit))
        content(source, source, known, [])
        assert pointers(source) == []
        tree.write_manifest(tmp_path / "out", ("source",))
        tree.restore(tmp_path / "out")
        repository.remove(source)
        assert not source.exists()
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "out")], check=True)


def test_names_in_other_alphabets_than_utf_8(tmp_path: Path) -> None:
    repository = imported(tmp_path / "repo", {b'"caf\\351.txt"': b"x", b"a.txt": b"x"})
    commit, source = repository.find("main"), tmp_path / "source"
    assert commit is not None
    assert len(repository.files(commit)) == 2
    repository.check_out(commit, source)
    content(source, source, set(repository.files(commit)), [])
    repository.remove(source)


def bomb(at: Path) -> Repository:
    """Return a repository of nine small trees that are ten to the power of nine files."""
    at.mkdir()
    repositories.git(at, "init", "--quiet")

    def made(lines: str) -> str:
        command = ["git", "-C", str(at), "mktree"]
        return subprocess.run(command, input=lines, check=True, capture_output=True, text=True).stdout.strip()

    blob = repositories.git(at, "hash-object", "-w", "/dev/null").strip()
    tree_of = made("".join(f"100644 blob {blob}\t{number}\n" for number in range(10)))
    for _ in range(8):
        tree_of = made("".join(f"040000 tree {tree_of}\t{number}\n" for number in range(10)))
    top = repositories.git(at, "commit-tree", tree_of, "-m", "a bomb").strip()
    repositories.git(at, "update-ref", "refs/heads/main", top)
    return Repository(at)


@pytest.mark.usefixtures("cache")
def test_a_billion_files_are_refused_before_one_is_written(tmp_path: Path) -> None:
    """What git prints was once cut at its beginning without a word, and the disk was full before that."""
    repository = bomb(tmp_path / "repo")
    commit = repository.find("main")
    assert commit is not None
    began = time.monotonic()
    with pytest.raises(BenchError, match=r"git ls-tree failed .* more than 64 MiB: a commit has too"):
        build(repository, commit, Path(), BuildBlock(inherit="none"), lambda text: None)
    assert time.monotonic() - began < 60
    assert not list(tmp_path.glob("cache/sides/*/source"))


def test_a_config_of_very_many_bytes_is_refused(tmp_path: Path) -> None:
    repository = imported(tmp_path / "repo", {b"ci.yaml": b"#" * (65 * MIB)})
    commit = repository.find("main")
    assert commit is not None
    with pytest.raises(BenchError, match=r"git show failed .* or too large a one"):
        repository.text(commit, "ci.yaml")


def test_a_checkout_that_fails_leaves_no_files(cache: Path, tmp_path: Path) -> None:
    """It may have failed because the disk is full."""
    repository = imported(tmp_path / "repo", {b"a.txt": b"x", b".gitmodules": b"broken ["})
    commit = repository.find("main")
    assert commit is not None
    with pytest.raises(BuildFailed, match="cannot check out main"):
        build(repository, commit, Path(), BuildBlock(inherit="none"), lambda text: None)
    assert not list(cache.glob("sides/*/source"))
    assert len(repositories.git(repository.root, "worktree", "list").splitlines()) == 1


# ---- passwords in the addresses of repositories --------------------------------------------------


@pytest.fixture
def with_token(repository: Path) -> Path:
    """A repository as a CI server clones it, with a token in its address, and a submodule beside it."""
    home = repository.parent
    repositories.git(home, "config", "remote.origin.url", f"http://ci:{PASSWORD}@127.0.0.1:9/group/one.git")
    (home / ".gitmodules").write_text('[submodule "other"]\n\tpath = other\n\turl = ../other.git\n')
    repositories.git(home, "add", ".gitmodules")
    repositories.git(home, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},other")
    repositories.git(home, "commit", "--quiet", "-m", "a submodule")
    return repository


def test_the_token_of_a_clone_is_in_no_result(with_token: Path, tmp_path: Path) -> None:
    """Git writes the whole address if it cannot clone a submodule. The reason of a verdict is in run.json, in
    reports, and in a comment for everybody."""
    options = GateOptions(tmp_path / "results", "v1.0", 8, None, (), (), candidate="HEAD")
    found = judged(with_token, options, quiet=True)
    assert found.gate.verdict == "ERROR"
    kept = [file for file in found.directory.rglob("*") if file.is_file()]
    texts = [file.read_text(errors="replace") for file in kept]
    assert any("http://***@127.0.0.1:9/group/other.git" in text for text in texts)
    assert not any(PASSWORD in text for text in texts)


def test_the_address_of_an_index_is_kept_from_a_build_whatever_its_secret_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"https://account.example/wheels?sv=1&sig={PASSWORD}")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple?project=a")
    given, withheld = settings()
    assert withheld == ["PIP_FIND_LINKS"]
    assert "PIP_INDEX_URL" in given


@pytest.mark.usefixtures("cache")
def test_a_log_of_a_build_has_no_password(tmp_path: Path) -> None:
    """It is copied into the run's directory."""
    at = tmp_path / "repo"
    repository = imported(at, {b"a.txt": b"x"})
    commit = repository.find("main")
    assert commit is not None
    said = f"echo cannot read https://ci:{PASSWORD}@host.example/a.git >&2; false"
    with pytest.raises(BuildFailed) as failed:
        build(repository, commit, Path(), BuildBlock(commands=(said,), inherit="none"), lambda text: None)
    assert PASSWORD not in str(failed.value)
    assert "https://***@host.example/a.git" in str(failed.value)
    assert failed.value.log is not None
    assert PASSWORD not in failed.value.log.read_text()


# ---- what a build leaves behind ------------------------------------------------------------------


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("left", ['rm -r "$VIRTUAL_ENV"/lib', 'rm -r "$VIRTUAL_ENV"'])
def test_a_build_that_deletes_its_environment_has_failed(tmp_path: Path, left: str) -> None:
    repository = imported(tmp_path / "repo", {b"a.txt": b"x"})
    commit = repository.find("main")
    assert commit is not None
    block = BuildBlock(commands=(left,), inherit="none")
    with pytest.raises(BenchError, match="no environment is there any more"):
        build(repository, commit, Path(), block, lambda text: None)
