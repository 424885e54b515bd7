"""Cache entries are whole or absent, built once, and known by what they hash to."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BenchError, IntegrityError, UsageError
from bench.models import disk_cache

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def write_weights(staging: Path) -> None:
    (staging / "weights").write_bytes(b"0123456789")


def left_over() -> list[str]:
    return sorted(p.name for p in (disk_cache.cache_root() / "models").glob("*") if p.suffix != ".lock")


def test_the_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert disk_cache.cache_root() == tmp_path / "cache"
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert disk_cache.cache_root() == tmp_path / "xdg" / "inference-cost-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert disk_cache.cache_root() == tmp_path / "home" / ".cache" / "inference-cost-bench"


@pytest.mark.bad_input(45)
def test_without_a_home_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UsageError, match="BENCH_CACHE"):
        disk_cache.cache_root()


def test_a_name_that_is_not_utf_8_has_a_digest_too(tmp_path: Path) -> None:
    """The weights of a model may be a link to a file with any name, and the directory may have any name."""
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    (place / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(place / "file")
    for _again in range(2):
        assert disk_cache.file_sha256(tmp_path / "link") == hashlib.sha256(b"x").hexdigest()
    assert disk_cache.model_cache_dir(place.name).name.startswith("caf-")
    assert disk_cache.directory_digest([(place.name, "0")]) == disk_cache.directory_digest(
        [(place.name, "0")]
    )


def test_a_digest_is_the_same_as_before() -> None:
    """Names in UTF-8 are hashed as UTF-8, so entries of earlier versions are found."""
    assert disk_cache.model_cache_dir("é").name.endswith(hashlib.sha256("é".encode()).hexdigest()[:12])


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b c", "\x1b[31m", "é" * 300, "", "."])
def test_no_key_leaves_the_cache(key: str) -> None:
    directory = disk_cache.model_cache_dir(key)
    assert directory.resolve().parent == (disk_cache.cache_root() / "models").resolve()
    assert len(directory.name) < 80
    assert directory != disk_cache.model_cache_dir(key + "x")


def test_an_entry_is_built_once_and_carries_its_digests() -> None:
    built: list[Path] = []

    def build(staging: Path) -> None:
        built.append(staging)
        (staging / "sub").mkdir()
        (staging / "sub" / "b").write_text("b")
        write_weights(staging)

    directory = disk_cache.fill("one", build)
    assert disk_cache.fill("one", build) == directory
    assert len(built) == 1
    assert not built[0].exists()
    assert [name for name, _ in disk_cache.recorded_digests(directory)] == ["sub/b", "weights"]
    assert disk_cache.verify_cached(directory) == ()
    assert disk_cache.cached_entries() == (directory,)


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), BenchError("y")])
def test_a_failed_build_leaves_nothing(failure: BaseException) -> None:
    def build(staging: Path) -> None:
        write_weights(staging)
        raise failure

    with pytest.raises(type(failure)):
        disk_cache.fill("broken", build)
    assert left_over() == []


def test_two_builders_at_once_build_once() -> None:
    started, built = threading.Event(), []

    def build(staging: Path) -> None:
        started.set()
        built.append(staging)
        threading.Event().wait(0.2)
        write_weights(staging)

    first = threading.Thread(target=disk_cache.fill, args=("same", build))
    first.start()
    assert started.wait(10)
    directory = disk_cache.fill("same", build)
    first.join()
    assert len(built) == 1
    assert disk_cache.is_complete(directory)


KILLED = """
import os, signal
from bench.models import disk_cache
def build(staging):
    (staging / "half").write_bytes(b"x" * 100)
    os.kill(os.getpid(), signal.SIGKILL)
disk_cache.fill("killed", build)
"""


def test_what_a_killed_process_left_is_swept_at_the_next_start() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    code = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False).returncode
    assert code == -signal.SIGKILL
    assert [name.endswith(".staging") for name in left_over()] == [True]
    assert not disk_cache.is_complete(disk_cache.model_cache_dir("killed"))
    disk_cache.sweep_crashed()
    assert left_over() == []


def test_a_staging_directory_in_use_is_not_swept() -> None:
    def build(staging: Path) -> None:
        sweeper = threading.Thread(target=disk_cache.sweep_crashed)
        sweeper.start()
        sweeper.join()
        write_weights(staging)

    assert disk_cache.is_complete(disk_cache.fill("busy", build))


def test_a_truncated_entry_is_built_again() -> None:
    directory = disk_cache.fill("one", write_weights)
    (directory / "weights").write_bytes(b"short")
    assert not disk_cache.is_complete(directory)
    assert disk_cache.fill("one", write_weights) == directory
    assert disk_cache.verify_cached(directory) == ()


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"files": {"weights": {}}}', '{"files": [1]}'])
def test_a_damaged_marker_means_not_complete(marker: str) -> None:
    directory = disk_cache.fill("one", write_weights)
    (directory / disk_cache.MARKER).write_text(marker)
    assert not disk_cache.is_complete(directory)
    assert disk_cache.verify_cached(directory) == (disk_cache.MARKER,)


def test_changed_bytes_of_the_same_size_are_an_integrity_error() -> None:
    directory = disk_cache.fill("one", write_weights)
    disk_cache.check_entry(directory)
    (directory / "weights").write_bytes(b"012345678X")
    assert disk_cache.is_complete(directory)
    assert disk_cache.verify_cached(directory) == ("weights",)
    with pytest.raises(IntegrityError, match="weights changed since it was fetched"):
        disk_cache.check_entry(directory)


def test_times_that_lie_hide_no_change() -> None:
    """Anybody can set the time of a change; when the kernel last touched the file, nobody can."""
    directory = disk_cache.fill("one", write_weights)
    before = (directory / "weights").stat()
    (directory / "weights").write_bytes(b"012345678X")
    os.utime(directory / "weights", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError, match="weights changed since it was fetched"):
        disk_cache.check_entry(directory)
    assert disk_cache.verify_cached(directory) == ("weights",)


def test_verify_misses_a_file_that_is_gone() -> None:
    directory = disk_cache.fill("one", write_weights)
    assert disk_cache.cached_entries() == (directory,)
    (directory / "weights").unlink()
    assert disk_cache.verify_cached(directory) == ("weights",)


def test_digests_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"abc")
    first = disk_cache.file_sha256(path)
    with monkeypatch.context() as patched:
        patched.setattr(disk_cache, "hash_file", lambda path: pytest.fail("read again"))
        assert disk_cache.file_sha256(path) == first
    path.write_bytes(b"abcd")
    assert disk_cache.file_sha256(path) != first


def test_a_file_that_changes_while_it_is_hashed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest of its old bytes was remembered as that of the new ones, by every later run."""
    path = tmp_path / "big"
    path.write_bytes(b"old")

    def slow(path: Path) -> str:
        digest = hash_file(path)
        path.write_bytes(b"new one")
        return digest

    hash_file = disk_cache.hash_file
    with monkeypatch.context() as patched:
        patched.setattr(disk_cache, "hash_file", slow)
        disk_cache.file_sha256(path)
    assert disk_cache.file_sha256(path) == hashlib.sha256(b"new one").hexdigest()


@pytest.mark.parametrize("size", [0, 1, disk_cache.BLOCK_BYTES, 2 * disk_cache.BLOCK_BYTES + 1])
def test_a_digest_is_that_of_all_bytes(tmp_path: Path, size: int) -> None:
    content = (b"0123456789" * size)[:size]
    (tmp_path / "file").write_bytes(content)
    assert disk_cache.hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_nobody_waits_for_bytes_beyond_the_size_of_a_file() -> None:
    """Files of the kernel say that they have none; this one has 2^28 of them."""
    assert disk_cache.hash_file(Path("/proc/self/pagemap")) == hashlib.sha256().hexdigest()


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(BenchError, match="set BENCH_CACHE"):
        disk_cache.fill("one", write_weights)
    assert len(disk_cache.file_sha256(tmp_path / "file")) == 64


def test_the_marker_is_readable_by_people() -> None:
    directory = disk_cache.fill("one", write_weights)
    files = json.loads((directory / disk_cache.MARKER).read_text())["files"]
    assert files["weights"]["size_bytes"] == 10


def test_an_entry_is_readable_by_its_owner_alone() -> None:
    assert disk_cache.fill("private", write_weights).stat().st_mode & 0o077 == 0


def test_a_file_whose_time_was_set_back_is_read_again(tmp_path: Path) -> None:
    """Whoever builds reproducibly gives all files one time; two models of one shape have one size."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    first = disk_cache.file_sha256(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert disk_cache.file_sha256(file) != first


def test_a_file_that_is_called_as_the_marker(tmp_path: Path) -> None:
    """A repository may have one; it was noted, replaced, and then said to have changed."""

    def build(staging: Path) -> None:
        write_weights(staging)
        (staging / disk_cache.MARKER).write_text("{}")

    entry = disk_cache.fill("x", build)
    disk_cache.check_entry(entry)
    assert [name for name, _digest in disk_cache.recorded_digests(entry)] == ["weights"]
    assert disk_cache.verify_cached(entry) == ()


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"other"), os.unlink])
def test_what_is_made_of_a_file_that_changes_meanwhile_is_not_kept(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    """It would be found under the digest of the file as it was."""
    source = tmp_path / "source"
    source.write_bytes(b"one")

    def build(staging: Path) -> None:
        write_weights(staging)
        change(source)

    with pytest.raises(UsageError, match="source: changed while it was read; nothing was kept"):
        disk_cache.fill("made", disk_cache.of_files({source: disk_cache.file_sha256(source)}, build))
    assert left_over() == []
    source.write_bytes(b"one")
    assert disk_cache.fill(
        "made", disk_cache.of_files({source: disk_cache.file_sha256(source)}, write_weights)
    ).is_dir()
