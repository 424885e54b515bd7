"""The two sides of a gate as Python environments: which interpreter, and a digest of what is installed in it.

``--base`` is an interpreter, or a git ref of the project in the current directory. For a ref an environment
is made once and kept under the cache: the ref's own package and requirements installed by pip over the
packages of the current environment, so only what differs is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, UsageError
from bench.models.cache import cache_root

# Printed by the interpreter that is asked: its version, every distribution, and the files of those that are
# installed as links to a working tree, since their version says nothing about their content.
_LOOK = """
import hashlib, importlib.metadata as m, json, pathlib, sys
from urllib.parse import unquote, urlparse
found, files = [], hashlib.sha256()
for d in sorted(m.distributions(), key=lambda d: (d.metadata["Name"] or "").lower()):
    found.append((d.metadata["Name"] or "?") + "==" + (d.version or "?"))
    link = json.loads(d.read_text("direct_url.json") or "{}")
    if link.get("dir_info", {}).get("editable"):
        root = pathlib.Path(unquote(urlparse(link["url"]).path))
        for p in sorted(root.rglob("*.py")):
            if not any(part.startswith(".") or part == "tests" for part in p.relative_to(root).parts):
                files.update(str(p.relative_to(root)).encode() + p.read_bytes())
print(json.dumps({"python": sys.version.split()[0], "packages": found, "sources": files.hexdigest()}))
"""
LOOK_S = 120
INSTALL_S = 1800


@dataclass(frozen=True)
class Identity:
    """What one side of a gate runs in. Equal digests: the same code as far as an environment tells."""

    label: str
    python: str
    packages_sha256: str
    sources_sha256: str


def identity(python: Path | None, label: str = "") -> Identity:
    """Ask an interpreter (None: this one) what is installed in it. UsageError when it cannot be run."""
    command = [str(python or sys.executable), "-c", _LOOK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_S, check=True)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as bad:
        raise UsageError(f"--base {python}: not a Python interpreter that works ({_why(bad)})") from None
    packages = hashlib.sha256("\n".join(found["packages"]).encode()).hexdigest()
    return Identity(label or "this environment", found["python"], packages, found["sources"])


def interpreter_of(base: str) -> tuple[Path, str]:
    """(interpreter, how to call it) for ``--base``: a path to a Python, or a git ref, whose environment is
    made here when it does not exist yet.

    UsageError for what is neither, BenchError for a missing file or a failed installation.
    """
    path = Path(base)
    if path.is_file() and os.access(path, os.X_OK):
        return path.absolute(), base
    commit = _git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if commit is None and len(path.parts) > 1 and path.parent.is_dir():
        raise BenchError(
            f"--base {base}: no run or interpreter there; nothing to compare with, nothing measured"
        )
    if commit is None:
        raise UsageError(
            f"--base {base}: neither an interpreter, nor a run, nor a git ref of the project here"
        )
    return _environment_at(commit.strip()), f"{base} ({commit.strip()[:12]})"


def _git(*arguments: str) -> str | None:
    """What git says, None where it fails or there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _environment_at(commit: str) -> Path:
    """The environment of one commit, whole or not at all."""
    inherited = hashlib.sha256(json.dumps(sorted(sys.path)).encode()).hexdigest()[:12]
    home = cache_root() / "bases" / f"{commit[:16]}-{inherited}"
    python = home / "venv" / "bin" / "python"
    if (home / "complete").is_file():
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    source = home / "source"
    _export(commit, source)
    _run([sys.executable, "-m", "venv", str(home / "venv")], f"an environment for {commit[:12]}")
    _inherit(python)
    wanted = ["-r", str(source / "requirements.txt")] if (source / "requirements.txt").is_file() else []
    if (source / "pyproject.toml").is_file() or (source / "setup.py").is_file():
        wanted.append(str(source))
    if not wanted:
        raise UsageError(
            f"commit {commit[:12]} has neither a package (pyproject.toml) nor a requirements.txt"
        )
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
    _run(install, f"the packages of {commit[:12]}")
    (home / "complete").touch()
    return python


def _export(commit: str, to: Path) -> None:
    """The commit's files, without touching the working tree."""
    archive = to.with_suffix(".tar")
    if _git("archive", "--output", str(archive), commit) is None:
        raise BenchError(f"git cannot export commit {commit[:12]}")
    with tarfile.open(archive) as packed:
        packed.extractall(to, filter="data")
    archive.unlink()


def _inherit(python: Path) -> None:
    """Let the new environment see this one's packages behind its own."""
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    places = [path for path in sys.path if path.endswith("site-packages")]
    (own / "inherited-by-bench.pth").write_text("\n".join(places) + "\n")


def _run(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=True)
    except (OSError, subprocess.SubprocessError) as bad:
        raise BenchError(f"cannot make {what}: {_why(bad)}") from None


def _why(bad: Exception) -> str:
    """The last line that a failed command printed, or what kept it from running."""
    printed = (getattr(bad, "stderr", None) or "").strip().splitlines()
    return printed[-1][:300] if printed else str(bad)[:300]
