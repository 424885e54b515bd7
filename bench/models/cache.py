"""The model cache: entries appear whole or not at all, and carry the SHA-256 of every file in them.

An entry is built in a staging directory beside its place, fsynced and renamed. Its marker
``complete.json`` is written last. One lock per entry, so two processes never fetch the same model twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import filelock

from bench.errors import BenchError, IntegrityError, UsageError

MARKER = "complete.json"
STAGING_SUFFIX = ".staging"


def cache_root() -> Path:
    """Where models are kept: ``$BENCH_CACHE``, else ``inference-cost-bench`` in the user's own cache."""
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
    """The directory of the entry called ``key``: a readable slug and a digest, always inside the cache."""
    slug = re.sub(r"[^a-z0-9.]+", "-", key.lower()).strip("-.")[:60]
    return cache_root() / "models" / f"{slug}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered under its path, size and modification time so it is read once."""
    memo = _memo(path)
    try:
        known = memo.read_text(encoding="ascii")
    except (OSError, ValueError):
        known = ""
    return known if re.fullmatch(r"[0-9a-f]{64}", known) else _remember(path, hash_file(path))


def _memo(path: Path) -> Path:
    """Where the digest of this state of the file is remembered."""
    stat = path.stat()
    state = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return cache_root() / "digests" / hashlib.sha256(state.encode()).hexdigest()


def _remember(path: Path, digest: str) -> str:
    """Note the digest for next time; a cache that cannot be written only costs the time to hash again."""
    with contextlib.suppress(OSError):
        _replace(_memo(path), digest.encode())
    return digest


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(directory: Path) -> bool:
    """Whether ``directory`` is a published entry with all its files at their recorded size (reads none)."""
    try:
        recorded = _marker(directory)
        return all((directory / name).stat().st_size == size for name, (_, size) in recorded.items())
    except (OSError, ValueError):
        return False


def recorded_digests(directory: Path) -> tuple[tuple[str, str], ...]:
    """(name, SHA-256) of every file of a complete entry, as written when it was published."""
    return tuple((name, digest) for name, (digest, _) in sorted(_marker(directory).items()))


def check_entry(directory: Path) -> None:
    """Raise IntegrityError when a file of the entry changed after it was published (cheap when none did)."""
    for name, digest in recorded_digests(directory):
        if file_sha256(directory / name) != digest:
            raise IntegrityError(
                f"{directory / name} changed since it was fetched; delete {directory} and it is fetched again"
            )


def verify_cached(directory: Path) -> tuple[str, ...]:
    """Read every file of the entry again; returns the names of those that are missing or not as published."""
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
    """Every complete entry, sorted."""
    return tuple(sorted(marker.parent for marker in (cache_root() / "models").glob(f"*/{MARKER}")))


def fill(key: str, build: Callable[[Path], None]) -> Path:
    """The entry called ``key``, built by ``build(staging)`` if it is not there yet.

    Only one process builds; others wait and find it done. When ``build`` raises, nothing is kept.
    """
    final = model_cache_dir(key)
    if is_complete(final):
        return final
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(f"{final}.lock"):
            if not is_complete(final):
                staging = final.with_name(final.name + STAGING_SUFFIX)
                _remove(staging)
                staging.mkdir(mode=0o700)
                try:
                    build(staging)
                    publish(staging, final)
                finally:
                    _remove(staging)
    except OSError as e:
        raise BenchError(
            f"cannot keep a model in {final.parent}: {e.strerror or e}; free some space, or set BENCH_CACHE"
        ) from e
    return final


def publish(staging: Path, final: Path) -> None:
    """Turn a finished staging directory into the entry ``final``: marker, fsync, rename. Atomic."""
    files = {path.relative_to(staging).as_posix(): path for path in staging.rglob("*") if path.is_file()}
    recorded = {name: {"sha256": hash_file(p), "size_bytes": p.stat().st_size} for name, p in files.items()}
    for path in files.values():
        _fsync(path)
    _replace(staging / MARKER, json.dumps({"files": recorded}, indent=1, sort_keys=True).encode())
    _remove(final)
    staging.rename(final)
    _fsync(final.parent)
    for name, entry in recorded.items():
        _remember(final / name, str(entry["sha256"]))


def sweep_crashed() -> None:
    """Remove staging directories that a killed process left behind (one that is being built is locked)."""
    for staging in (cache_root() / "models").glob(f"*{STAGING_SUFFIX}"):
        lock = filelock.FileLock(str(staging).removesuffix(STAGING_SUFFIX) + ".lock")
        try:
            with lock.acquire(timeout=0):
                _remove(staging)
        except (filelock.Timeout, OSError):
            continue


def _marker(directory: Path) -> dict[str, tuple[str, int]]:
    """File name -> (SHA-256, size in bytes) from the marker; ValueError when it is not one of ours."""
    data = json.loads((directory / MARKER).read_bytes())
    try:
        return {name: (str(f["sha256"]), int(f["size_bytes"])) for name, f in data["files"].items()}
    except (AttributeError, KeyError, TypeError) as e:
        raise ValueError(f"{directory / MARKER} is damaged") from e


def _remove(directory: Path) -> None:
    """Delete a directory tree if it is there."""
    if directory.exists():
        shutil.rmtree(directory)


def _replace(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    _fsync(temporary)
    temporary.replace(path)


def _fsync(path: Path) -> None:
    """Wait until a file or directory is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
