"""Docstrings of Python's standard library: for calibration, since no evaluation text contains them."""

from __future__ import annotations

import ast
import sysconfig
from functools import cache
from pathlib import Path

LICENCE = "Python Software Foundation License"
PACKAGES = ("", "asyncio", "concurrent/futures", "email", "http", "importlib", "json", "logging", "unittest")


def read() -> str:
    """Return every docstring of the top-level modules and some packages, sorted by their files.

    The docstrings of pdb are left out, because a language topic repeats them. The text differs between Python
    versions.
    """
    return "\n\n".join(each())


@cache  # some two hundred files are parsed
def each() -> tuple[str, ...]:
    """Return the docstrings one by one, in the order of the text."""
    home = Path(sysconfig.get_path("stdlib"))
    files = [file for package in PACKAGES for file in sorted((home / package).glob("*.py"))]
    return tuple(text for file in files if file.name != "pdb.py" for text in _docstrings(file))


def _docstrings(file: Path) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(file.read_bytes())
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented))
    return [text for text in found if text]
