"""Prepare a child process: a few variables of the environment, a directory of its own, and nothing else.

A child that runs Python must not import from the directory in which the user stands: a ``json.py`` there
would run with everything that the child may see. ``SAFE`` tells every Python from 3.11 on, ``-P`` says it
again where the interpreter is ours, and ``NOWHERE`` holds for an older one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.formatting import without_secrets

# Enough to find programs, caches, proxies and compilers; no secrets of the job.
ALLOWED = frozenset({
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH",
    "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "PKG_CONFIG_PATH", "CUDA_HOME",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "BENCH_CACHE",
})  # fmt: skip
KEYS = "TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|_KEY"  # in the name of a variable that holds one
# An index that needs a password cannot be used by a build: the branch's own code would see the password.
SECRET = re.compile(f"{KEYS}|PUBLISH|USERNAME|HTTP_?AUTH|INDEX_AUTH")
LINES = 12
# PYTHONSAFEPATH is for Python. llama.cpp that gives up on a file would start gdb or lldb on its own process.
SAFE = {"PYTHONSAFEPATH": "1", "GGML_NO_BACKTRACE": "1"}
PLACES = ("PATH", "LD_LIBRARY_PATH")  # lists of directories in which programs and libraries are looked for
NOWHERE = "/"  # the working directory of a child that needs none


def environment(*prefixes: str) -> dict[str, str]:
    """Return the allowed variables, and those that begin with one of ``prefixes`` and name no secret."""
    ours = prefixes or ("\0",)
    return from_whole_paths(
        {
            key: value
            for key, value in os.environ.items()
            if key in ALLOWED or (key.startswith(ours) and not SECRET.search(key))
        }
    )


def from_whole_paths(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables in which programs and libraries are looked for in whole paths only, and never where
    the user stands.

    A relative or empty entry would be the directory in which a child stands: a ``git`` or a ``libgomp.so.1``
    there would run. An empty one comes easily: ``LD_LIBRARY_PATH=/opt/cuda/lib64:$LD_LIBRARY_PATH``.
    """
    lists = {name: _whole(variables[name]) for name in PLACES if name in variables}
    others = {key: value for key, value in variables.items() if key not in PLACES}
    return others | {name: os.pathsep.join(places) for name, places in lists.items() if places}


def _whole(places: str) -> list[str]:
    given = [Path(place) for place in places.split(os.pathsep) if place]
    return [str(place.absolute()) for place in given if place != Path()]


def program_called(name: str) -> str | None:
    """Return the path of a program that a child would find by its name, or None."""
    return shutil.which(name, path=environment().get("PATH", os.defpath))


def too_long(seconds: float) -> str:
    """Say that a command was ended after this time."""
    return f"no end within {seconds:g} s, so it was ended, with all that it had started"


def last_lines(bad: Exception) -> str:
    """Return the last lines that a failed command printed, or the error that kept it from running; of one
    that took too long, how long it had. The passwords of URLs are left out: results and reports show it. A
    tab, as before a command that git suggests, becomes spaces: a message shows no control characters."""
    printed = (getattr(bad, "stderr", None) or getattr(bad, "stdout", None) or "").strip().splitlines()
    lines = [without_secrets(line.expandtabs(4))[:500].rstrip() for line in printed[-LINES:]]
    if isinstance(bad, subprocess.TimeoutExpired):
        lines.insert(0, too_long(bad.timeout))
    return "\n  ".join(lines) if lines else without_secrets(str(bad))[:500]
