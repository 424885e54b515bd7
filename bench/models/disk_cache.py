"""Keep the model cache: an entry appears completely or not at all, with the SHA-256 of every file in it.

An entry is built in a staging directory beside its final place, synced to disk and renamed. Its marker
``complete.json`` is written last. Each entry has a lock, so two processes never fetch the same model twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import filelock

from bench.errors import IntegrityError, UsageError
from bench.formatting import MIB
from bench.models.cache_lock import locked
from bench.store.directories import delete_whole, files_below

Build = Callable[[Path], None]
MARKER = "complete.json"
STAGING_SUFFIX = ".staging"
BLOCK_BYTES = MIB  # of a file that is hashed


def cache_root() -> Path:
    """Return the cache directory: ``$BENCH_CACHE``, or ``inference-cost-bench`` in the user's own cache."""
    if named := os.environ.get("BENCH_CACHE"):
        return Path(named).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "inference-cost-bench"
    try:
        return Path.home() / ".cache" / "inference-cost-bench"
    except RuntimeError as e:
        raise UsageError("no home directory to keep models in; set BENCH_CACHE to a directory") from e


def model_cache_dir(key: str) -> Path:
    """Return the directory of the entry ``key``: a readable slug and a digest, always inside the cache."""
    slug = re.sub(r"[^a-z0-9.]+", "-", key.lower()).strip("-.")[:60]
    return cache_root() / "models" / f"{slug}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:12]}"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file. It is remembered by path, size and times of change (the second
    of which nobody can set), so that the file is read only once."""
    memo = _memo(path)
    try:
        known = memo.read_text(encoding="ascii")
    except (OSError, ValueError):
        known = ""
    if re.fullmatch(r"[0-9a-f]{64}", known):
        return known
    digest = hash_file(path)
    _remember(path, digest, memo)
    return digest


def _memo(path: Path) -> Path:
    """Return the file that remembers the digest of this state of ``path``."""
    stat = path.stat()
    state = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
    return cache_root() / "digests" / hashlib.sha256(os.fsencode(state)).hexdigest()


def _remember(path: Path, digest: str, memo: Path | None = None) -> None:
    """Note the digest for next time, unless the file has another ``memo`` now: then old and new bytes were
    read. If the cache cannot be written, or if the machine stops before the note is on the disk, the file is
    just hashed again."""
    with contextlib.suppress(OSError):
        if memo in (None, now := _memo(path)):
            _replace(now, digest.encode(), lasting=False)


def hash_file(path: Path) -> str:
    """Read a file now and return its SHA-256, up to the size that it has when it is opened.

    Nobody waits for what comes later: a file of the kernel (``/proc/kmsg``) may have no end.
    """
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        while left and (block := file.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def directory_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return one SHA-256 for all files of a model, as ``sha256sum FILES | sha256sum`` prints it in that
    directory if FILES are in the order of their names (bytes)."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files))
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def is_complete(directory: Path) -> bool:
    """Return whether ``directory`` is a published entry and all its files have their recorded size. No file
    content is read."""
    try:
        recorded = _marker(directory)
        return all((directory / name).stat().st_size == size for name, (_, size) in recorded.items())
    except (OSError, ValueError):
        return False


def recorded_digests(directory: Path) -> tuple[tuple[str, str], ...]:
    """Return (name, SHA-256) of every file of a complete entry, as recorded when it was published."""
    return tuple((name, digest) for name, (digest, _) in sorted(_marker(directory).items()))


def check_entry(directory: Path) -> None:
    """Raise IntegrityError if a file of the entry changed after it was published; fast if none changed."""
    for name, digest in recorded_digests(directory):
        if file_sha256(directory / name) != digest:
            raise IntegrityError(
                f"{directory / name} changed since it was fetched; delete {directory} and it is fetched again"
            )


def verify_cached(directory: Path) -> tuple[str, ...]:
    """Read every file of the entry again, and return the names of missing or changed files."""
    if not (directory / MARKER).is_file():
        return (MARKER,)
    try:
        recorded = recorded_digests(directory)
    except ValueError:
        return (MARKER,)
    return tuple(
        name
        for name, digest in recorded
        if not (directory / name).is_file() or hash_file(directory / name) != digest
    )


def cached_entries() -> tuple[Path, ...]:
    """Return every complete entry, sorted."""
    return tuple(sorted(marker.parent for marker in (cache_root() / "models").glob(f"*/{MARKER}")))


def is_entry(directory: Path) -> bool:
    """Return whether ``directory`` is a complete entry of the cache, and not somebody's own directory."""
    return directory.absolute().parent == cache_root() / "models" and is_complete(directory)


def of_files(digests: Mapping[Path, str], build: Build) -> Build:
    """Return ``build`` with a check behind it: what it makes of files is kept under their digests, so they
    must still have these. It raises UsageError for a file that changed meanwhile."""

    def built(staging: Path) -> None:
        build(staging)
        for path, digest in digests.items():
            with contextlib.suppress(OSError):  # it may be gone
                if file_sha256(path) == digest:
                    continue
            raise UsageError(f"{path}: changed while it was read; nothing was kept: try again")

    return built


def fill(key: str, build: Build) -> Path:
    """Return the entry ``key``; ``build(staging)`` makes it if it does not exist yet.

    Only one process builds; others wait and find the finished entry. If ``build`` raises, nothing is kept.
    """
    final = model_cache_dir(key)
    if is_complete(final):
        return final
    with locked("keep a model", final):
        if not is_complete(final):
            staging = final.with_name(final.name + STAGING_SUFFIX)
            delete_whole(staging)
            staging.mkdir(mode=0o700)
            try:
                build(staging)
                publish(staging, final)
            finally:
                delete_whole(staging)
    return final


def publish(staging: Path, final: Path) -> None:
    """Turn a finished staging directory into the entry ``final``: write marker, sync, rename. Atomic."""
    below = ((path.relative_to(staging), path) for path in files_below(staging) if path.is_file())
    files = {name.as_posix(): path for name, path in below}
    files.pop(MARKER, None)  # a repository may have a file of this name, which is replaced
    recorded = {name: {"sha256": hash_file(p), "size_bytes": p.stat().st_size} for name, p in files.items()}
    for path in files.values():
        _fsync(path)
    _replace(staging / MARKER, json.dumps({"files": recorded}, indent=1, sort_keys=True).encode())
    delete_whole(final)
    staging.rename(final)
    _fsync(final.parent)
    for name, entry in recorded.items():
        _remember(final / name, str(entry["sha256"]))


def sweep_crashed() -> None:
    """Remove the staging directories of killed processes. A directory that is still being built is locked,
    and stays."""
    for staging in (cache_root() / "models").glob(f"*{STAGING_SUFFIX}"):
        lock = filelock.FileLock(str(staging).removesuffix(STAGING_SUFFIX) + ".lock")
        try:
            with lock.acquire(timeout=0):
                delete_whole(staging)
        except (filelock.Timeout, OSError):
            continue


def _marker(directory: Path) -> dict[str, tuple[str, int]]:
    """Return {file name: (SHA-256, bytes)} from the marker. Raises ValueError if the marker is damaged."""
    data = json.loads((directory / MARKER).read_bytes())
    try:
        return {name: (str(f["sha256"]), int(f["size_bytes"])) for name, f in data["files"].items()}
    except (AttributeError, KeyError, TypeError) as e:
        raise ValueError(f"{directory / MARKER} is damaged") from e


def _replace(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a small file completely or not at all. Only one that must be ``lasting`` waits for the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    if lasting:
        _fsync(temporary)
    temporary.replace(path)


def _fsync(path: Path) -> None:
    """Wait until a file or directory is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
