"""Tell what this machine refuses (a full disk, a limit of the shell, a path nobody may read) from a bug."""

from __future__ import annotations

import errno

from bench.cli.output import speakable
from bench.errors import ExitCode

LONGEST_NAME = 80  # characters of a file name in a message
OF_A_PATH = {
    errno.ENAMETOOLONG: "this name is too long",
    errno.EACCES: "this user may not look into it",
    errno.EPERM: "this user may not do that",
    errno.ENOTDIR: "a part of this path is no directory",
    errno.ELOOP: "its links lead in a circle",
    errno.EROFS: "its file system is read-only",
}
OF_THE_MACHINE = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "this user may fill no more of the disk",
    errno.EFBIG: "no file may be so large (ulimit -f)",
    errno.EIO: "the disk cannot be read or written",
    errno.EMFILE: "this process may open no more files (ulimit -n)",
    errno.ENFILE: "this machine can open no more files",
    errno.EAGAIN: "no more processes or threads may be started (ulimit -u)",
    errno.ENOMEM: "there is no memory left",
}
NO_THREAD = "can't start new thread"  # Python's words, in a RuntimeError
NO_TEMPORARY = "No usable temporary directory found"  # and in a FileNotFoundError without a name


def not_ours(bad: OSError | MemoryError | RuntimeError) -> tuple[str, ExitCode] | None:
    """Return (what to say, exit code) for an error that is no bug of this program; None for any other."""
    if isinstance(bad, MemoryError) or str(bad) == NO_THREAD:
        number = errno.EAGAIN if str(bad) == NO_THREAD else errno.ENOMEM
        return OF_THE_MACHINE[number], ExitCode.FAILED
    if not isinstance(bad, OSError):
        return None
    if str(bad.strerror).startswith(NO_TEMPORARY):
        said = "no directory for temporary files can be written"
        return f"{said}: free some space, or set TMPDIR", ExitCode.FAILED
    name = "" if bad.filename is None else f"{speakable(str(bad.filename))[:LONGEST_NAME]}: "
    if name and bad.errno in OF_A_PATH:
        return f"{name}{OF_A_PATH[bad.errno]}", ExitCode.USAGE
    if bad.errno in OF_THE_MACHINE:
        return f"{name}{OF_THE_MACHINE[bad.errno]}", ExitCode.FAILED
    return None
