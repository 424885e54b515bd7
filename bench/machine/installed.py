"""List what is installed in an interpreter: its version, every distribution, sources of editable ones.

The text of this file is run by the interpreter that is asked (``python -c``), which may be older and has none
of our packages: standard library only. A version says nothing of the content of an editable install, so that
content is part of the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

PIECE = 1 << 20  # bytes that are read at a time


def found() -> dict[str, object]:
    """Return the version of Python, ``name==version`` of each distribution in the order of their names, and a
    digest of the Python files of editable installs."""
    named = [(*name_and_version(one), one) for one in metadata.distributions()]
    named.sort(key=lambda one: (one[0] or "").lower())
    files = hashlib.sha256()
    for _name, _version, one in named:
        link = json.loads(one.read_text("direct_url.json") or "{}")
        if link.get("dir_info", {}).get("editable"):
            for part in sources(Path(unquote(urlparse(link["url"]).path))):
                files.update(part)
    return {
        "python": sys.version.split()[0],
        "packages": [f"{name or '?'}=={version or '?'}" for name, version, _one in named],
        "sources": files.hexdigest(),
    }


def name_and_version(one: metadata.Distribution) -> tuple[str | None, str | None]:
    """Return how a distribution is called in its metadata.

    ``importlib.metadata`` parses the whole file, with the description of the project, for each of the two.
    """
    text = one.read_text("METADATA") or one.read_text("PKG-INFO") or ""
    said: dict[str, str] = {}
    for line in text.partition("\n\n")[0].split("\n"):
        key, colon, value = line.partition(":")
        if colon and key.lower() in ("name", "version"):
            said.setdefault(key.lower(), value.lstrip(" \t"))
    if len(said) < 2:  # a file in a form of its own
        return one.metadata["Name"], one.version
    return said["name"], said["version"]


def sources(root: Path) -> Iterator[bytes]:
    """Yield the path of each Python file below a directory, and then its content in pieces, in the order of
    their paths. What is hidden is left out, as ``.venv`` is, and so are tests; neither is looked into."""
    paths: list[Path] = []
    for place, folders, names in os.walk(root):
        folders[:] = [one for one in folders if one != "tests" and not one.startswith(".")]
        paths += [Path(place, one) for one in names if one.endswith(".py") and not one.startswith(".")]
    for path in sorted(paths, key=lambda one: one.parts):
        if path.is_file():  # a link may lead to a FIFO, to a device or to nothing
            yield os.fsencode(path.relative_to(root))
            with path.open("rb") as file:
                yield from iter(lambda: file.read(PIECE), b"")


if __name__ == "__main__":
    print(json.dumps(found()))
