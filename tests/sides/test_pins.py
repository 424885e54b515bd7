"""What no file of a commit fixes is said, and both sides get it alike where that is possible."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from proof import repositories

from bench.config.settings import BuildBlock
from bench.errors import BenchError
from bench.sides.build import Built, build
from bench.sides.content import content
from bench.sides.declared import pip_arguments
from bench.sides.differences import identified, packages
from bench.sides.pins import constraints, declared, pyproject_table, unpinned
from bench.sides.repository import Repository

REQUIREMENTS = """
# a comment
fixed==1.0
Exact_Name===2.0 ; python_version > "3"
hashed==3.0 \\
    --hash=sha256:abc
loose>=1
star==1.*
bare  # why
-r more.txt
--index-url https://example
-e .
./lib
"""
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
TOML = '[project]\nname = "x"\nversion = "1"\ndependencies = ["of-project>=2"]\n'


def test_requirements_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    (tmp_path / "more.txt").write_text("more==1\n-c constraints.txt\n-r requirements.txt\n")
    (tmp_path / "constraints.txt").write_text("held==4\n")
    (tmp_path / "pyproject.toml").write_text(TOML)
    found = [str(one) for one in declared(tmp_path, [["-r", "requirements.txt"], ["given==5", "--no-deps"]])]
    assert found == [
        "fixed==1.0", 'Exact_Name===2.0; python_version > "3"', "hashed==3.0", "loose>=1", "star==1.*",
        "bare", "more==1", "held==4", "given==5", "of-project>=2",
    ]  # fmt: skip


DEEP, LONG = "[" * 100_000, "9" * 5000


@pytest.mark.parametrize(
    "text",
    [
        f"a = {DEEP}", f"a = {LONG}", "project = 5", "project = []", "[project]\ndependencies = 5",
        "[project]\ndependencies = {a = 1}", "[[project]]\nname = 'x'", "\0",
        "[project]\ndependencies = [[], {a = 1}]",
    ],
)  # fmt: skip
def test_a_project_of_any_form_declares_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert list(declared(tmp_path, [])) == []


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a ring of links", "a directory", "too much"])
@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt"])
def test_what_a_commit_puts_in_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, kind: str, name: str
) -> None:
    place = tmp_path / name
    if kind == "a FIFO":
        os.mkfifo(tmp_path / "fifo")
        place.symlink_to("fifo")
    elif kind == "a directory":
        place.mkdir()
    elif kind == "too much":
        place.write_text("held==4\n" * 2_200_000)
    else:
        place.symlink_to("/dev/zero" if kind == "a device" else place)
    assert list(declared(tmp_path, [["-r", "requirements.txt"]])) == []


@pytest.mark.parametrize("text", ["\n" * 500_000, " " * 1_000_000, "a" + " " * 1_000_000 + "b"])
def test_requirements_are_read_in_a_time_that_grows_with_them(tmp_path: Path, text: str) -> None:
    """Blank lines by the hundred thousand were once looked at from each of them on."""
    (tmp_path / "requirements.txt").write_text(text)
    (tmp_path / "setup.py").write_text("")
    began = time.process_time()
    assert list(declared(tmp_path, [["-r", "requirements.txt"]])) == []
    assert pip_arguments(tmp_path, tmp_path, BuildBlock()) == [["-r", "requirements.txt"], ["."]]
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "#\n" * 2_000_000, "a\n" * 2_000_000, "x[" + "a," * 500_000 + "a]", "x" + " " * 1_000_000 + "y",
        "x>=1" + ",>=1" * 250_000, "x @ " + "a:" * 500_000, "x; " + "(" * 500, "x==" + LONG, "é" * 1_000_000,
    ],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_no_requirement_takes_a_time_that_grows_with_its_square(tmp_path: Path, text: str) -> None:
    """Forty kilobytes took two seconds, and a commit may have sixteen megabytes of them."""
    (tmp_path / "requirements.txt").write_text(f"held==4\n{text}\n")
    began = time.process_time()
    found = declared(tmp_path, [["-r", "requirements.txt"]])
    assert str(next(iter(found))) == "held==4"
    assert len(list(found)) < 20_000
    assert constraints({"x": "1.0"}, tmp_path, [["-r", "requirements.txt"]]) == ["x==1.0"]
    assert time.process_time() - began < 10


def test_files_of_requirements_have_one_bound_together(tmp_path: Path) -> None:
    for number in range(40):
        text = f"-r {number + 1}.txt\n" + "#\n" * 1_000_000
        (tmp_path / f"{number}.txt").write_text(text)
    began = time.process_time()
    assert list(declared(tmp_path, [["-r", "0.txt"]])) == []
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    ["[project]\n" + "a." * 100_000 + "a = 1\n", f"[{'a.' * 100_000}a]\nb = 1\n", "a = 1 #" + "x" * 2**20],
)
def test_a_key_of_very_many_parts_is_not_read(tmp_path: Path, text: str) -> None:
    """Sixteen kilobytes took a second and a half, and twice as many four times as long."""
    (tmp_path / "pyproject.toml").write_text(text)
    began = time.process_time()
    assert pyproject_table(tmp_path) == {}
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "a\0b", "..", "/proc/self/mem"])
def test_requirements_that_name_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"-r {name}\nheld==4\n")
    assert [str(one) for one in declared(tmp_path, [["-r", "requirements.txt"]])] == ["held==4"]


def test_a_constraint_does_not_contradict_the_commit(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a>=2\nb>=1\nc==9\n")
    like = {"a": "1.5", "b": "1.5", "c": "1", "d": "1"}
    assert constraints(like, tmp_path, [["-r", "requirements.txt"]]) == ["b==1.5", "d==1"]


ALONE = BuildBlock(inherit="none")  # nothing below: pip has less to look through


class Shop:
    """A repository whose commits are built from wheels that come and go."""

    def __init__(self, tmp_path: Path) -> None:
        self.at, self.wheels = tmp_path / "repo", tmp_path / "wheels"
        self.wheels.mkdir()
        self.at.mkdir()
        repositories.git(self.at, "init", "--quiet")

    def offer(self, version: str) -> None:
        repositories.wheel(self.wheels, "helperlib", version, "FACTOR = 1\n")

    def built(self, requirements: str, like: Built | None = None, **block: object) -> Built:
        repositories.commit(self.at, {"requirements.txt": requirements})
        repository = Repository(self.at)
        commit = repository.find("HEAD")
        assert commit is not None
        given = ALONE.model_copy(update=block)
        versions = like.open_versions if like else None
        return build(repository, commit, Path(), given, lambda text: None, versions)


@pytest.fixture
def shop(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return Shop(tmp_path)


def test_a_newer_version_on_the_index_is_no_change_of_the_commit(shop: Shop) -> None:
    shop.offer("1.0")
    base = shop.built("helperlib\n")
    assert (base.unpinned, base.open_versions) == (("helperlib",), {"helperlib": "1.0"})
    shop.offer("2.0")
    candidate = shop.built("helperlib  # a comment\n", base)
    assert packages(candidate.packages) == {"helperlib": "1.0"}
    assert not candidate.anew
    assert shop.built("helperlib>=2\n", base).open_versions == {"helperlib": "2.0"}
    pinned = shop.built("helperlib==2.0\n", base)
    assert (pinned.unpinned, packages(pinned.packages)) == ((), {"helperlib": "2.0"})


def test_where_the_versions_of_the_base_do_not_go_the_candidate_gets_its_own(shop: Shop) -> None:
    shop.offer("1.0")
    base = shop.built("helperlib\n")
    shop.offer("2.0")
    candidate = shop.built("-r sub.txt\n", base, commands=("echo 'helperlib>1' > sub.txt",))
    assert not candidate.anew, "what the commit's own files ask for is looked at first"
    needs = "Metadata-Version: 2.1\nName: needy\nVersion: 1.0\nRequires-Dist: helperlib>=2\n"
    _wheel_that_needs(shop.wheels, needs)
    other = shop.built("needy==1.0\n", base)
    assert other.anew
    assert packages(other.packages) == {"helperlib": "2.0", "needy": "1.0"}
    assert other.unpinned == ("helperlib",)


def _wheel_that_needs(to: Path, metadata: str) -> None:
    with zipfile.ZipFile(to / "needy-1.0-py3-none-any.whl", "w") as file:
        file.writestr("needy.py", "")
        file.writestr("needy-1.0.dist-info/METADATA", metadata)
        file.writestr(
            "needy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr("needy-1.0.dist-info/RECORD", "")


def test_a_side_that_came_to_the_same_by_itself_is_not_built_twice(shop: Shop) -> None:
    shop.offer("1.0")
    base = shop.built("helperlib\n")
    alone = shop.built("helperlib  # a comment\n")
    repository = Repository(shop.at)
    commit = repository.find("HEAD")
    assert commit is not None
    said: list[str] = []
    again = build(repository, commit, Path(), ALONE, said.append, base.open_versions)
    assert (again, said) == (alone, [])


def test_a_failure_that_is_not_about_versions_is_the_failure(shop: Shop) -> None:
    shop.offer("1.0")
    base = shop.built("helperlib\n")
    with pytest.raises(BenchError, match="no-such-package"):
        shop.built("helperlib\nno-such-package\n", base)


# ---- packages from addresses ---------------------------------------------------------------------

COMMIT = "ab" * 20


def installed(tmp_path: Path, direct_url: str | None) -> Path:
    """A directory of packages with one package, which came from an address."""
    about = tmp_path / "lib-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
    if direct_url is not None:
        (about / "direct_url.json").write_text(direct_url)
    return tmp_path


def of_revision(asked: str | None) -> str:
    """What an installer notes of a checkout of a branch, a tag or a commit."""
    more = {"requested_revision": asked} if asked else {}
    url = "https://example.org/lib.git"
    return json.dumps({"url": url, "vcs_info": {"vcs": "git", "commit_id": COMMIT, **more}})


@pytest.mark.parametrize(
    ("direct_url", "known_as", "fixed"),
    [
        (None, "1.0", False),
        ("no json", "1.0", False),
        (of_revision(None), f"1.0 ({COMMIT[:12]})", False),
        (of_revision("main"), f"1.0 ({COMMIT[:12]})", False),
        (of_revision(COMMIT), f"1.0 ({COMMIT[:12]})", True),
        (of_revision(COMMIT[:9]), f"1.0 ({COMMIT[:12]})", True),
        ('{"url": "file:///side/source", "dir_info": {"editable": true}}', "1.0", True),
        ('{"url": "https://h/lib.zip", "archive_info": {"hashes": {"sha256": "1234567890abcdef"}}}',
         "1.0 (1234567890ab)", True),
    ],
)  # fmt: skip
def test_a_branch_at_an_address_is_no_pin(
    direct_url: str | None, known_as: str, fixed: bool, tmp_path: Path
) -> None:
    """It moves on while the version stays, so an unchanged commit would get another package tomorrow."""
    place = installed(tmp_path, direct_url)
    assert identified(place) == {"lib": known_as}
    assert packages(place) == {"lib": "1.0"}, "a constraint takes no commit"
    (tmp_path / "requirements.txt").write_text("lib @ git+https://example.org/lib.git@main\n")
    assert unpinned(tmp_path, place, [["-r", "requirements.txt"]]) == (() if fixed else ("lib",))


def test_an_archive_at_an_address_is_a_pin(tmp_path: Path) -> None:
    place = installed(tmp_path, None)
    (tmp_path / "requirements.txt").write_text("lib @ https://example.org/lib-1.0.zip\n")
    assert unpinned(tmp_path, place, [["-r", "requirements.txt"]]) == ()


NOTES = "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "Name: lib\n", "Version: 1.0\n", "Name: \xff\nVersion: 1.0\n", "Name: ..\nVersion: 1.0\n",
        f"Name: lib\nVersion: 1.{LONG}\n", f"Name: lib\nVersion: 1.0+{'a' * 300}\n",
        "Name: lib\nVersion: of today\n", "Name: lib\nVersion: 1.0\n --index-url https://elsewhere\n",
    ],
)  # fmt: skip
def test_what_an_installation_that_broke_off_left_is_no_package(tmp_path: Path, text: str) -> None:
    """A name and a version become a line of constraints for the other side."""
    installed(tmp_path, None)
    for kind in ("dist-info", "egg-info"):
        about = tmp_path / f"~ib-1.0.{kind}"
        about.mkdir()
        (about / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_bytes(text.encode("latin-1"))
    (tmp_path / "old-1.0.egg-info").write_bytes(text.encode("latin-1"))
    assert packages(tmp_path) == identified(tmp_path) == {"lib": "1.0"}
    assert unpinned(tmp_path, tmp_path, []) == ("lib",)


def test_a_package_whose_author_does_not_write_utf8(tmp_path: Path) -> None:
    place = installed(tmp_path, None)
    notes = f"{NOTES}Author: J\xf6rg\nRequires-Dist: other==2\n\nF\xfcr alle\n".encode("latin-1")
    (place / "lib-1.0.dist-info" / "METADATA").write_bytes(notes)
    (place / "old-2.0.egg-info").write_bytes(notes.replace(b"lib", b"old"))
    (place / "other-2.dist-info").mkdir()
    (place / "other-2.dist-info" / "METADATA").write_text(NOTES.replace("lib", "other"))
    assert packages(place) == {"lib": "1.0", "old": "1.0", "other": "1.0"}
    assert unpinned(tmp_path, place, []) == ("lib", "old"), "another package asks for a version of it"


@pytest.mark.parametrize(
    "direct_url",
    [
        '{"vcs_info": 5}', '{"vcs_info": null}', '{"vcs_info": {"requested_revision": 5}}',
        f'{{"vcs_info": {{"commit_id": "{COMMIT}", "requested_revision": 5}}}}', "\udcff", DEEP,
    ],
)  # fmt: skip
def test_an_address_of_any_form_is_no_pin(tmp_path: Path, direct_url: str) -> None:
    place = installed(tmp_path, "")
    about = place / "lib-1.0.dist-info" / "direct_url.json"
    about.write_bytes(direct_url.encode(errors="surrogateescape"))
    assert list(identified(place)) == ["lib"]
    assert unpinned(tmp_path, place, []) == ("lib",)


@pytest.mark.parametrize("kind", ["METADATA", "RECORD", "direct_url.json"])
def test_notes_of_a_package_that_are_no_file_are_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = installed(tmp_path, None) / "lib-1.0.dist-info" / kind
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    assert identified(tmp_path) == ({} if kind == "METADATA" else {"lib": "1.0"})
    content(tmp_path, tmp_path, [], [])


def test_a_list_of_files_of_any_form_is_part_of_what_a_side_is(tmp_path: Path) -> None:
    record = installed(tmp_path, None) / "lib-1.0.dist-info" / "RECORD"
    found = []
    odd = (b"\xff,,\n", b"\xfe,,\n", b"a" * 200_000 + b",b\n")
    for text in (b"", b"a.py,sha256=1,2\n", b"a.py,sha256=2,2\n", *odd):
        record.write_bytes(text)
        found.append(content(tmp_path / "no checkout", tmp_path, [], []))
    assert len(set(found)) == len(found)
