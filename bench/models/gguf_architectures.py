"""Find out, without importing transformers, whether the transformers that is installed reads a GGUF file's
architecture."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bench.bounded import read_bounded
from bench.formatting import one_line
from bench.models.gguf_format import ARCHITECTURE, STRING

BEGINS = 1 << 16  # bytes in which the architecture stands: llama.cpp and gguf write it first
SOURCES = ("integrations/ggml.py", "modeling_gguf_pytorch_utils.py")
SOURCE_BYTES = 4 << 20
_KEY = len(ARCHITECTURE).to_bytes(8, "little") + ARCHITECTURE.encode() + STRING.to_bytes(4, "little")


def why_not_converted(path: Path) -> str | None:
    """Return why a GGUF file cannot be converted for engines other than llama.cpp's server; None if nothing
    is known against it.

    transformers compares architectures by parts of their names, so only one in which no name of its own
    occurs is refused here; others may still be refused when they are converted.
    """
    architecture, known = architecture_of(path), _names()
    if not architecture or not known:
        return None
    if any(name == architecture or (len(name) > 2 and name in architecture) for name in known):
        return None
    return f"the installed transformers reads no GGUF of the architecture {one_line(architecture)[:40]}"


def architecture_of(path: Path) -> str:
    """Return the architecture of a GGUF whose header is sound; empty if it does not stand near the front."""
    with path.open("rb") as file:
        content = file.read(BEGINS)
    _before, found, behind = content.partition(_KEY)
    size = int.from_bytes(behind[:8], "little") if found else 0
    return behind[8 : 8 + size].decode(errors="replace")


@cache
def _names() -> frozenset[str]:
    """Return the words in quotes in the sources that read GGUF, which name every architecture; empty if
    there are no such sources."""
    there = find_spec("transformers")
    home = Path(there.origin).parent if there is not None and there.origin else None
    files = [home / name for name in SOURCES] if home is not None else []
    if not files or not all(file.is_file() for file in files):
        return frozenset()
    texts = [read_bounded(file, SOURCE_BYTES).decode() for file in files]
    return frozenset(word for text in texts for word in re.findall(r"[\"']([a-z0-9_-]{2,})[\"']", text))
