"""The user's repository: refs, the working tree as a commit, checkouts; and nothing is written in it."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from proof.repositories import commit, git

from bench.errors import BenchError, UsageError
from bench.report.gate_sides import between_commits
from bench.sides import git as git_module
from bench.sides.differences import named
from bench.sides.repository import Repository, standing
from bench.sides.side import Asked
from bench.store.chain import MAX_LINE_BYTES
from bench.store.files import canonical_json
from bench.store.gate_blocks import CommitSide
from bench.store.values import check_block


@pytest.fixture
def home(tmp_path: Path) -> Path:
    at = tmp_path / "repo"
    at.mkdir()
    git(at, "init", "--quiet")
    commit(at, {"a.txt": "one\n", ".gitignore": "ignored\n"})
    git(at, "tag", "v1")
    commit(at, {"a.txt": "two\n", "deep/b.txt": "b\n"})
    return at


@pytest.fixture
def repository(home: Path) -> Repository:
    found = Repository.around(home / "deep" / "b.txt")
    assert found is not None
    return found


def test_a_repository_is_found_from_within_and_nowhere_else(repository: Repository, home: Path) -> None:
    assert repository.root.resolve() == home.resolve()
    assert Repository.around(home.parent) is None


@pytest.mark.bad_input(42)
def test_refs_become_commits(repository: Repository, home: Path) -> None:
    tag, head = repository.find("v1"), repository.find("HEAD")
    assert tag is not None
    assert head is not None
    assert tag.commit == git(home, "rev-parse", "v1^{commit}").strip()
    assert tag.label == f"v1 ({tag.commit[:12]})"
    assert head.tree == git(home, "rev-parse", "HEAD^{tree}").strip()
    assert repository.find("no-such-branch") is None
    assert repository.find("--help") is None
    assert repository.find("^HEAD") is None, "git prints it, but it is what a list leaves out"


def test_the_files_as_they_are_become_a_commit(repository: Repository, home: Path) -> None:
    head, clean = repository.find("HEAD"), repository.find("worktree")
    assert head is not None
    assert clean is not None
    assert (clean.commit, clean.tree) == (head.commit, head.tree)
    (home / "a.txt").write_text("three\n")
    (home / "new.txt").write_text("new\n")
    (home / "ignored").write_text("not this\n")
    git(home, "add", "a.txt")
    (home / "a.txt").write_text("four\n")
    before = git(home, "status", "--porcelain")
    dirty = repository.find("worktree")
    assert dirty is not None
    assert repository.changed_files(head, dirty) == ["a.txt", "new.txt"]
    assert repository.text(dirty, "a.txt") == "four\n"
    assert (dirty.uncommitted, clean.uncommitted) == (True, False)
    assert dirty.label.endswith("with changes)")
    assert git(home, "status", "--porcelain") == before, "the user's index stays as it is"
    again = repository.find("worktree")
    assert again == dirty, "the same files are the same commit"


@pytest.mark.parametrize(
    "branch", ["fix-\U0001f469\u200d\U0001f4bb", "soft\u00adhyphen", "/".join(["a" * 100] * 5)]
)
def test_a_side_has_a_name_that_results_can_hold(repository: Repository, home: Path, branch: str) -> None:
    """A gate that was measured would otherwise end with a journal that nobody may read."""
    git(home, "branch", branch)
    found = repository.find(branch)
    assert found is not None
    check_block(CommitSide, {"label": found.label, "commit": found.commit}, "the gate")


def test_a_commit_of_very_many_files_has_a_line_that_can_be_kept() -> None:
    block = named([f"vendor/{'é' * 250}/{number}" for number in range(200_000)])
    assert len(canonical_json(block).encode()) < MAX_LINE_BYTES
    shown = between_commits({"config": [], "packages": [], **block}, "one", "two")
    assert "200000 files: vendor/" in shown.lines[1]
    assert shown.lines[1].endswith(" and 199992 more")


def test_a_file_with_another_name_is_two_files(repository: Repository, home: Path) -> None:
    git(home, "mv", "a.txt", "z.txt")
    commit(home, {})
    git(home, "config", "diff.renames", "copies")
    before, after = repository.find("HEAD^"), repository.find("HEAD")
    assert before is not None
    assert after is not None
    assert repository.changed_files(before, after) == ["a.txt", "z.txt"]


def test_a_commit_is_what_its_name_says(repository: Repository, home: Path) -> None:
    """`git replace` puts another one in its place, on this machine alone."""
    first = repository.find("v1")
    git(home, "replace", "v1", "HEAD")
    assert repository.find("v1") == first


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="has no commit yet"):
        Repository(tmp_path).find("worktree")


def test_a_checkout_has_the_commits_files(repository: Repository, tmp_path: Path) -> None:
    first = repository.find("v1")
    assert first is not None
    repository.check_out(first, tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "one\n"
    assert git(tmp_path / "out", "describe", "--tags").strip() == "v1"
    repository.remove(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(git(repository.root, "worktree", "list").splitlines()) == 1
    repository.check_out(first, tmp_path / "out")  # and again, after somebody deleted it


def test_a_checkout_is_whole_where_the_working_tree_is_sparse(
    repository: Repository, home: Path, tmp_path: Path
) -> None:
    git(home, "sparse-checkout", "set", "--no-cone", "a.txt")
    assert not (home / "deep").exists()
    found = repository.find("worktree")
    assert found is not None
    assert found == repository.find("worktree")
    repository.check_out(found, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "b.txt").read_text() == "b\n"
    assert not (home / "deep").exists()


@pytest.mark.parametrize("text", ["", "# the last one was removed\n", '[submodule "gone"]\n\tpath = gone\n'])
def test_a_list_of_submodules_that_names_none(home: Path, tmp_path: Path, text: str) -> None:
    commit(home, {".gitmodules": text})
    (home / ".git" / "modules" / "gone").mkdir(parents=True)  # git keeps the copy of one that was removed
    found = Repository(home).find("HEAD")
    assert found is not None
    Repository(home).check_out(found, tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").is_file()


def test_a_repository_whose_files_lie_elsewhere_holds_no_config_here(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    git(home, "config", "core.worktree", str(tmp_path / "elsewhere"))
    assert Repository.around(home / "a.txt") is None


def test_a_directory_whose_name_ends_with_a_space(home: Path) -> None:
    there = home.rename(home.with_name("repo "))
    found = Repository.around(there / "a.txt")
    assert found is not None
    assert found.root.resolve() == there.resolve()


def test_the_cache_is_no_part_of_the_files_as_they_are(
    repository: Repository, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CI job that may keep only what is below the repository has it there."""
    monkeypatch.setenv("BENCH_CACHE", str(home / ".bench" / "cache"))
    (home / ".bench" / "cache").mkdir(parents=True)
    (home / ".bench" / "cache" / "model").write_text("large")
    (home / "new.txt").write_text("new\n")
    head, dirty = repository.find("HEAD"), repository.find("worktree")
    assert head is not None
    assert dirty is not None
    assert repository.changed_files(head, dirty) == ["new.txt"]


def test_a_repository_among_the_files_is_not_left_out_silently(repository: Repository, home: Path) -> None:
    inner = home / "inner"
    inner.mkdir()
    git(inner, "init", "--quiet")
    commit(inner, {"x.py": "X = 1\n"})
    with pytest.raises(UsageError, match="inner is a repository of its own"):
        repository.find("worktree")
    (home / ".git" / "info" / "exclude").write_text("inner/\n")
    assert repository.find("worktree") is not None


@pytest.fixture
def theirs(home: Path, tmp_path: Path) -> Path:
    """Another repository, which is a submodule of the first."""
    at = tmp_path / "theirs"
    at.mkdir()
    git(at, "init", "--quiet")
    commit(at, {"lib.py": "X = 1\n"})
    git(home, "submodule", "--quiet", "add", str(at), "third party")
    commit(home, {})
    return at


def test_submodules_come_from_the_repositorys_own_copy(home: Path, theirs: Path, tmp_path: Path) -> None:
    (home / "third party" / "lib.py").write_text("X = 2\n")
    with pytest.raises(UsageError, match="the submodule third party has changes of its own"):
        Repository(home).find("worktree")
    git(home / "third party", "checkout", "--quiet", "lib.py")
    assert Repository(home).find("worktree") is not None
    theirs.rename(tmp_path / "gone")
    repository = Repository(home)
    head = repository.find("HEAD")
    assert head is not None
    repository.check_out(head, tmp_path / "out")
    assert (tmp_path / "out" / "third party" / "lib.py").read_text() == "X = 1\n"


@pytest.mark.usefixtures("theirs")
def test_the_users_settings_stay_as_they_are(home: Path, tmp_path: Path) -> None:
    """`git submodule init` would write the place that a stranger's commit names into them."""
    git(tmp_path, "clone", "--quiet", str(home), "clone")
    settings = tmp_path / "clone" / ".git" / "config"
    before = settings.read_text()
    repository = Repository(tmp_path / "clone")
    found = repository.find("HEAD")
    assert found is not None
    with pytest.raises(BenchError, match="git submodule failed"):
        repository.check_out(found, tmp_path / "out")
    assert settings.read_text() == before


@pytest.mark.usefixtures("theirs")
def test_a_submodule_that_the_user_does_not_want_is_a_part_of_the_commit(home: Path, tmp_path: Path) -> None:
    git(home, "config", "submodule.third party.active", "false")
    before = (home / ".git" / "config").read_text()
    found = Repository(home).find("HEAD")
    assert found is not None
    Repository(home).check_out(found, tmp_path / "out")
    assert (tmp_path / "out" / "third party" / "lib.py").is_file()
    assert (home / ".git" / "config").read_text() == before


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("place", [".gitmodules", ".git/config"])
@pytest.mark.parametrize("how", ["none", "merge", "!touch planted"])
def test_a_submodule_is_filled_whatever_settings_say(
    home: Path, tmp_path: Path, place: str, how: str
) -> None:
    """An empty one would be a part of the commit that nobody measures, and a command is nobody's files."""
    if how.startswith("!") and place == ".gitmodules":
        pytest.skip("git itself refuses such a file")
    git(home, "config", "--file", place, "submodule.third party.update", how)
    commit(home, {"more.txt": ""})
    found = Repository(home).find("HEAD")
    assert found is not None
    Repository(home).check_out(found, tmp_path / "out")
    assert (tmp_path / "out" / "third party" / "lib.py").is_file()
    assert not list(tmp_path.rglob("planted"))


def test_the_name_of_a_submodule_is_no_setting(home: Path, theirs: Path, tmp_path: Path) -> None:
    """A commit chooses the name, and whoever clones it with its submodules has a copy under that name."""
    planted = tmp_path / "planted"
    name = f"third party.update=!touch {planted} #"
    git(home, "clone", "--quiet", "--bare", str(theirs), str(home / ".git" / "modules" / name))
    git(home, "config", "--file", ".gitmodules", f"submodule.{name}.path", "other")
    git(home, "config", "--file", ".gitmodules", f"submodule.{name}.url", str(theirs))
    head = git(theirs, "rev-parse", "HEAD").strip()
    git(home, "update-index", "--add", "--cacheinfo", f"160000,{head},other")
    git(home, "add", ".gitmodules")
    git(home, "commit", "--quiet", "-m", "another submodule")
    found = Repository(home).find("HEAD")
    assert found is not None
    Repository(home).check_out(found, tmp_path / "out")
    assert not planted.exists()
    assert (tmp_path / "out" / "other" / "lib.py").is_file()


@pytest.mark.usefixtures("theirs")
def test_a_submodule_that_wants_to_be_ignored_differs_all_the_same(home: Path) -> None:
    """Else a gate on two of its commits would find that nothing differs."""
    git(home, "config", "--file", ".gitmodules", "submodule.third party.ignore", "all")
    commit(home, {})
    commit(home / "third party", {"lib.py": "X = 3\n"})
    inside = git(home / "third party", "rev-parse", "HEAD").strip()
    git(home, "update-index", "--cacheinfo", f"160000,{inside},third party")
    git(home, "commit", "--quiet", "-m", "another version of it")
    repository = Repository(home)
    before, after = repository.find("HEAD^"), repository.find("HEAD")
    assert before is not None
    assert after is not None
    assert repository.changed_files(before, after) == ["third party"]


def test_a_shallow_clone_says_what_to_fetch(home: Path, tmp_path: Path) -> None:
    command = ["git", "clone", "--quiet", "--depth", "1", f"file://{home}", str(tmp_path / "shallow")]
    subprocess.run(command, check=True, capture_output=True)
    shallow = Repository(tmp_path / "shallow")
    assert shallow.find("v1") is None
    assert "fetch-depth: 0" in shallow.missing("v1")
    assert "no commit, branch or tag" in Repository(home).missing("v9")


def test_a_hooks_variables_name_another_repository(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert repository.find("v1") is not None


def test_git_says_why_it_failed(repository: Repository, tmp_path: Path) -> None:
    first = repository.find("v1")
    assert first is not None
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(BenchError, match="already exists"):
        repository.check_out(first, tmp_path / "full")


def test_commits_between(repository: Repository, home: Path) -> None:
    commit(home, {"a.txt": "three\n"})
    found = repository.commits_between("v1", "HEAD")
    assert found == git(home, "rev-list", "--reverse", "v1..HEAD").split()
    assert len(found) == 2
    assert repository.subject(found[0]) == "a change"


def test_where_the_user_stands(repository: Repository, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home / "deep")
    assert standing(repository) == Path("deep")
    monkeypatch.chdir(home.parent)
    assert standing(repository) == Path()


def check_out(home: Path, to: Path) -> None:
    repository = Repository(home)
    for ref in ("worktree", "HEAD"):
        found = repository.find(ref)
        assert found is not None
        repository.text(found, "a.txt")
        repository.changed_files(found, found)
    repository.check_out(found, to)


def test_nothing_that_a_repository_holds_is_started(home: Path, tmp_path: Path) -> None:
    """Hooks, a monitor of files, and drivers that a commit asks for and that nobody has configured."""
    planted = tmp_path / "planted"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {planted}\ncat\n")
    evil.chmod(0o755)
    attributes = "* filter=evil diff=evil merge=evil working-tree-encoding=UTF-8\n"
    settings = f'[filter "evil"]\n\tsmudge = {evil}\n\tclean = {evil}\n[diff "evil"]\n\ttextconv = {evil}\n'
    commit(home, {".gitattributes": attributes, ".gitconfig": settings, ".lfsconfig": settings})
    for hook in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction"):
        place = home / ".git" / "hooks" / hook
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(evil.read_bytes())
        place.chmod(0o755)
    git(home, "config", "core.fsmonitor", str(evil))
    (home / "new.txt").write_text("new\n")
    check_out(home, tmp_path / "out")
    assert not planted.exists()


@pytest.mark.parametrize("url", ["ext::sh -c 'touch PLANTED'", "PRIVATE", "file://PRIVATE", "-uPLANTED"])
@pytest.mark.parametrize("name", ["vendor", "../../private"])
@pytest.mark.parametrize("update", [False, True])
def test_a_submodule_brings_nothing_from_this_disk(
    home: Path, tmp_path: Path, url: str, name: str, update: bool
) -> None:
    private, planted = tmp_path / "private", tmp_path / "planted"
    private.mkdir()
    git(private, "init", "--quiet")
    commit(private, {"secret.txt": "secret"})
    head = git(private, "rev-parse", "HEAD").strip()
    url = url.replace("PRIVATE", str(private)).replace("PLANTED", str(planted))
    line = f"\tupdate = !touch {planted}\n" if update else ""
    (home / ".gitmodules").write_text(f'[submodule "{name}"]\n\tpath = vendor\n\turl = {url}\n{line}')
    git(home, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor")
    git(home, "add", ".gitmodules")
    git(home, "commit", "--quiet", "-m", "a submodule")
    found = Repository(home).find("HEAD")
    assert found is not None
    with suppress(BenchError):
        Repository(home).check_out(found, tmp_path / "out")
    assert not planted.exists()
    assert not list((tmp_path / "out").rglob("secret.txt"))


def test_a_repository_of_another_user_is_not_said_to_be_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the files are often another user's, and git then wants to be told that this is meant."""
    assert Repository.refused(tmp_path) == ""
    known = git_module.environment
    monkeypatch.setattr(
        git_module, "environment",
        lambda *names: known(*names) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},
    )  # fmt: skip
    (home / "cost.yaml").write_text("model: smollm2-135m\n")
    with pytest.raises(UsageError, match=r"no commits to compare: (.|\n)*safe\.directory"):
        Asked(home / "cost.yaml", tmp_path / "out").repository()


def test_a_machine_without_git_is_said(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"git cannot be started \(No such file or directory\)"):
        Asked(home / "cost.yaml", tmp_path / "out").repository()
