"""Which files below some directories a process reads: modules, templates, and nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.worker import opened_files

ROOT = Path(__file__).resolve().parents[2]


def reached(tmp_path: Path, code: str, **roots: Path) -> dict[str, str]:
    """Run ``code`` in a process that notes what it reads below ``roots``."""
    program = (
        "import json, sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
        "from bench.worker.opened_files import Reached\n"
        f"found = Reached(json.loads({json.dumps(json.dumps({k: str(v) for k, v in roots.items()}))}))\n"
        f"{code}\n"
        "print(json.dumps(found.files()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return files


def test_modules_and_opened_files(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("from pathlib import Path\nTEXT = Path('t.txt').read_text()\n")
    (tmp_path / "t.txt").write_text("words")
    (tmp_path / "unread.txt").write_text("words")
    found = reached(tmp_path, "import mod", source=tmp_path)
    assert set(found) == {"source:mod.py", "source:t.txt"}
    assert found["source:t.txt"] == hashlib.sha256(b"words").hexdigest()


def test_files_elsewhere_and_metadata_do_not_count(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for place in (inside / "x.dist-info", outside):
        place.mkdir(parents=True)
        (place / "METADATA").write_text("")
    code = f"open({str(inside / 'x.dist-info' / 'METADATA')!r}); open({str(outside / 'METADATA')!r})"
    assert reached(tmp_path, code, source=inside) == {}


def test_what_is_reached_by_a_link_is_where_it_points(tmp_path: Path) -> None:
    """The engines are links into the tool's own installation: they are the same on both sides."""
    real, linked = tmp_path / "real", tmp_path / "linked"
    real.mkdir()
    linked.mkdir()
    (real / "engine.py").write_text("")
    (linked / "engine.py").symlink_to(real / "engine.py")
    code = f"sys.path.insert(0, {str(linked)!r}); import engine"
    assert reached(tmp_path, code, packages=linked) == {}


def test_a_file_that_is_gone_again_is_left_out(tmp_path: Path) -> None:
    code = "import os; open('gone.txt', 'w').close(); open('gone.txt').close(); os.remove('gone.txt')"
    assert reached(tmp_path, code, source=tmp_path) == {}


def test_without_roots_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("")
    assert reached(tmp_path, "import mod") == {}


def test_a_file_that_is_only_written_is_not_read(tmp_path: Path) -> None:
    code = "open('log.txt', 'a').write('x'); open('both.txt', 'w').close(); open('both.txt').close()"
    assert set(reached(tmp_path, code, source=tmp_path)) == {"source:both.txt"}


def test_a_database_and_a_file_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("x")
    code = (
        "import sqlite3; c = sqlite3.connect('p.db'); c.execute('create table t (x)'); open(b'raw').close()"
    )
    assert set(reached(tmp_path, code, source=tmp_path)) == {"source:p.db", "source:raw"}


def test_what_c_code_has_opened(tmp_path: Path) -> None:
    """A native library, what that needs itself, data that it maps or keeps open; not what it only writes."""
    for name in ("inner", "outer"):
        (tmp_path / f"{name}.c").write_text(f"int {name}(void) {{ return 1; }}\n")
        linked = [] if name == "inner" else ["-Wl,--no-as-needed", "-L.", "-linner", f"-Wl,-rpath,{tmp_path}"]
        command = ["cc", "-shared", "-fPIC", "-o", f"lib{name}.so", f"{name}.c", *linked]
        subprocess.run(command, check=True, cwd=tmp_path)
    for name in ("a b.bin", "kept.bin"):
        (tmp_path / name).write_text("x")
    code = (
        "import ctypes; library = ctypes.CDLL('./libouter.so'); c = ctypes.CDLL(None)\n"
        "c.mmap.restype = ctypes.c_void_p; fd = c.open(b'a b.bin', 0)\n"
        "c.mmap(None, ctypes.c_size_t(1), 1, 2, fd, ctypes.c_long(0)); c.close(fd)\n"
        "c.open(b'kept.bin', 0); c.open(b'log', 0o101, 0o600)"
    )
    found = reached(tmp_path, code, source=tmp_path)
    assert set(found) == {f"source:{name}" for name in ("libinner.so", "libouter.so", "a b.bin", "kept.bin")}


@pytest.mark.parametrize("command", [b"true", b"sleep 60 > /dev/null 2>&1 &"])
def test_a_process_that_c_code_starts_may_read_everything(tmp_path: Path, command: bytes) -> None:
    assert "*" in reached(tmp_path, f"import ctypes; ctypes.CDLL(None).system({command!r})", source=tmp_path)
    tracked = (
        "from multiprocessing import resource_tracker as t; t.ensure_running(); import time; time.sleep(0.5)"
    )
    assert reached(tmp_path, tracked, source=tmp_path) == {}


def test_a_large_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_files, "LARGE_BYTES", 2)
    for content in ("many words", "more words"):
        (tmp_path / "t").write_text(content)
        digest = opened_files.digest_of(str(tmp_path / "t"), {})
        assert digest == hashlib.sha256(content.encode()).hexdigest()


def test_code_of_the_side_that_starts_a_process_may_read_everything(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("import subprocess\nsubprocess.run(['true'])\n")
    assert "*" in reached(tmp_path, "import mod", source=tmp_path)
    assert "*" not in reached(tmp_path, "import subprocess; subprocess.run(['true'])", source=tmp_path)


def test_the_place_of_a_side_is_no_difference(tmp_path: Path) -> None:
    """An editable package holds the path of its checkout."""
    digests = set()
    for name in ("one", "other"):
        side = tmp_path / name
        side.mkdir()
        (side / "finder.py").write_text(f"MAPPING = {str(side)!r}\n")
        code = f"sys.path.insert(0, {str(side)!r}); import finder"
        digests |= set(reached(tmp_path, code, source=side).values())
    assert len(digests) == 1


def test_a_pointer_of_git_lfs_that_is_read_ends_the_row(tmp_path: Path) -> None:
    """The side's own code reads it, and may even go on with it."""
    (tmp_path / "weights.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    )
    code = (
        "from bench.errors import VariantFailed\n"
        "open('weights.bin').read()\n"
        "try: found.files()\n"
        "except VariantFailed as bad: print(json.dumps({'said': str(bad)})); sys.exit()\n"
    )
    said = reached(tmp_path, code, source=tmp_path)["said"]
    assert said.startswith("load_error: weights.bin is a pointer of Git LFS")
    assert "`git lfs pull`" in said


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_pool_of_processes_may_read_everything(tmp_path: Path, method: str) -> None:
    (tmp_path / "mod.py").write_text(
        "import multiprocessing, operator\n"
        "def answer():\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        return pool.map(operator.neg, [1])\n"
    )
    assert "*" in reached(tmp_path, "import mod; mod.answer()", source=tmp_path)
    assert "*" not in reached(tmp_path, "import mod", source=tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        "# file generated by setuptools-scm\n# don't change, don't track in version control\n",
        "# file generated by setuptools_scm\n",
        "# file generated by vcs-versioning\n",
        "\n# This file was generated by 'versioneer.py' (0.29) from\n# revision-control system data\n",
    ],
)
def test_a_file_that_only_says_which_commit_it_is_of_is_the_same_in_each(tmp_path: Path, header: str) -> None:
    """Every module that imports it would make each commit another one, also one of the documentation."""
    digests = set()
    for version in ("1.0.dev1+gaaaaaaa", "1.0.dev2+gbbbbbbb"):
        (tmp_path / "_version.py").write_text(f"{header}__version__ = {version!r}\n")
        digests.add(reached(tmp_path, "import _version", source=tmp_path)["source:_version.py"])
    assert len(digests) == 1
    (tmp_path / "_version.py").write_text("__version__ = 'by hand'\n")
    assert reached(tmp_path, "import _version", source=tmp_path)["source:_version.py"] not in digests


def test_a_file_below_two_roots_has_the_name_of_the_first(tmp_path: Path) -> None:
    packages = tmp_path / "venv" / "packages"
    packages.mkdir(parents=True)
    (packages / "lib.py").write_text("")
    (tmp_path / "venv" / "prompt.txt").write_text("words")
    code = f"import sys; sys.path.insert(0, {str(packages)!r}); import lib; open('venv/prompt.txt').read()"
    found = reached(tmp_path, code, packages=packages, environment=tmp_path / "venv")
    assert set(found) == {"packages:lib.py", "environment:prompt.txt"}
