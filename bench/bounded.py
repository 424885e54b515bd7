"""Read files that somebody else wrote: regular files only, and never more bytes than the caller allows.

A FIFO or a device in the place of a file would make a command wait for ever or fill the memory. Every refusal
is an OSError whose ``strerror`` is a phrase for people, such as "is a FIFO, not a regular file". Standard
library only, because the worker imports this file too.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

from bench.formatting import MIB

MOST_DEPTH = 100
LONGEST_LOG, KEPT_OF_A_LOG = 16 * MIB, 4 * MIB  # what is kept is the beginning and the end
LEFT_OUT = b"\n[... the middle of this log was left out: it was too long ...]\n"
BLOCK_BYTES = 512  # of st_blocks
MAY_HAVE_HOLES, MOST_HOLES = 64 * MIB, 8  # a compressed file system leaves more than an eighth of weights
POINTER = b"version https://git-lfs.github.com/spec/"
MOST_POINTER = 1024  # bytes of the text that Git LFS puts in the place of a file
IS_POINTER = "a pointer of Git LFS and not the file itself: fetch it with `git lfs pull`"
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_STRUCTURE = bytes(set(range(256)) - _STEPS.keys() - {ord('"')})
# Text in JSON without its letters, or text without an end. Nothing is tried twice, so the time is linear.
_TEXTS = re.compile(rb'"[^"]*+(?:"|\Z)')
_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip


@contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[BufferedReader]:
    """Open a regular file for reading, without waiting for a writer at the other end of a FIFO.

    Raises OSError for anything else, and for a link unless ``follow``.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as bad:
        if bad.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "is a link, and links are not followed", str(path)) from None
        if bad.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "is a socket or a FIFO, not a regular file", str(path)) from None
        raise
    except ValueError as bad:  # a NUL byte in the name
        raise OSError(errno.EINVAL, str(bad), str(path)) from None
    _keep_if_regular(descriptor, path)
    with os.fdopen(descriptor, "rb") as file:
        must_be_the_file(file, path)
        yield file


def _keep_if_regular(descriptor: int, path: Path) -> None:
    """Raise OSError, and close the descriptor, unless it is that of a regular file."""
    try:
        must_be_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise


def must_be_the_file(file: BufferedReader, path: Path) -> None:
    """Raise OSError for what Git LFS leaves in the place of a file that was not fetched."""
    size = os.fstat(file.fileno()).st_size
    if size <= MOST_POINTER and is_pointer(file.peek(len(POINTER)), size):
        raise OSError(errno.EINVAL, f"is {IS_POINTER}", str(path))


def is_pointer(beginning: bytes, size: int) -> bool:
    """Return whether a file of this size, which begins like this, is a pointer of Git LFS."""
    return size <= MOST_POINTER and beginning.startswith(POINTER)


def must_be_regular(mode: int, path: Path) -> None:
    """Raise OSError unless ``mode`` (``st_mode``) is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"is {kind}, not a regular file", str(path))


def must_be_on_the_disk(path: Path) -> None:
    """Raise OSError for a long file that is nearly all holes: a download that was cut short after its room
    was reserved, or a trap that takes hours to read. A file system that counts no blocks is believed."""
    about = path.stat()
    held = about.st_blocks * BLOCK_BYTES
    if about.st_size > MAY_HAVE_HOLES and 0 < held < about.st_size // MOST_HOLES:
        said = f"is {about.st_size // MIB} MiB long, and {held // MIB} of them are on the disk"
        raise OSError(errno.EINVAL, f"{said}: fetch it again", str(path))


def is_file(path: Path) -> bool:
    """Return whether there is a regular file, links followed; False where this user may not look."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def state_of(path: Path) -> tuple[int, int] | None:
    """Return (time of the last change in ns, size) of a regular file, None without one: a key for what was
    read from it, as long as nobody writes to it."""
    if not is_file(path):
        return None
    about = path.stat()
    return about.st_mtime_ns, about.st_size


def read_bounded(path: Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file. Raises OSError for a larger one, or if it cannot be read."""
    with open_regular(path, follow=follow) as file:
        expected = min(os.fstat(file.fileno()).st_size, most_bytes) + 1
        content: bytes | None = file.read(expected)  # a buffer of ``most_bytes`` takes longer than to read
        if content is None:  # a file of the kernel that has nothing to say now
            raise OSError(errno.EAGAIN, "is not ready to be read", str(path))
        if len(content) == expected:  # it has grown, or the kernel did not know its size
            content += file.read(most_bytes + 1 - expected) or b""
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"is larger than {_amount(most_bytes)}", str(path))
    return content


def content_or_nothing(path: Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file; nothing for what is none, cannot be read or is larger."""
    try:
        return read_bounded(path, most_bytes, follow=follow)
    except OSError:
        return b""


def open_to_append(path: Path) -> BinaryIO:
    """Open a file of our own for appending, and make it first if needed. A link is not followed, and nobody
    waits for the reader of a FIFO. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    _keep_if_regular(descriptor, path)
    return os.fdopen(descriptor, "ab")


def keep_short(log: Path) -> None:
    """Take the middle out of a log that has become long, and leave a line that says so. Whoever appends to it
    goes on at its end. A log that is gone, or is not a file, is left alone."""
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(log, flags)
    except OSError:
        return
    try:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode) and about.st_size > LONGEST_LOG:
            last = os.pread(descriptor, KEPT_OF_A_LOG, about.st_size - KEPT_OF_A_LOG)
            os.ftruncate(descriptor, KEPT_OF_A_LOG)
            os.write(descriptor, LEFT_OUT + last)
    except OSError:  # a full disk has room again
        return
    finally:
        os.close(descriptor)


def tail(path: Path, most_bytes: int) -> bytes:
    """Return the last bytes of a regular file, however large it is. Raises OSError."""
    with open_regular(path, follow=False) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - most_bytes, 0))
        return file.read(most_bytes)


def why(bad: OSError) -> str:
    """Return a phrase that follows a file's name: why it was refused, or why it cannot be read."""
    reason = bad.strerror or str(bad)
    return reason if reason.startswith("is ") else f"cannot be read ({reason})"


@dataclass(frozen=True)
class Contents:
    """How many lists and objects, values and keys JSON holds; signs within its text count too."""

    containers: int = 0
    values: int = 0
    keys: int = 0

    def __add__(self, other: Contents) -> Contents:
        return Contents(
            self.containers + other.containers, self.values + other.values, self.keys + other.keys
        )

    def must_fit(self, most: Contents) -> None:
        """Raise ValueError if anything here is more than in ``most``."""
        if self.containers > most.containers or self.values > most.values or self.keys > most.keys:
            raise ValueError(
                f"more than {most.containers} lists and objects, {most.values} values or {most.keys} keys"
            )


# The header of a safetensors file with 150,000 tensors has 450,000 lists and objects and 900,000 values.
MOST = Contents(containers=500_000, values=1_500_000, keys=1_000_000)


def contents_of(data: bytes) -> Contents:
    """Count what JSON holds, without parsing it."""
    return Contents(data.count(b"[") + data.count(b"{"), data.count(b","), data.count(b'":'))


def must_be_modest(data: bytes, most: Contents = MOST) -> None:
    """Raise ValueError for JSON that holds more than any of our files has, or is nested more deeply.

    A few megabytes of ``[],[],`` would fill a hundred times as much memory, and what walks through nested
    lists would need a stack as deep as they are.
    """
    found = contents_of(data)
    found.must_fit(most)
    if found.containers > MOST_DEPTH and _depth(data) > MOST_DEPTH:
        raise ValueError(f"nested too deeply: more than {MOST_DEPTH} lists and objects in each other")


def _depth(data: bytes) -> int:
    escaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # what is left of quotes begins or ends a text
    quotes = escaped.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    brackets = _TEXTS.sub(b"", quotes)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _amount(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size} bytes"
