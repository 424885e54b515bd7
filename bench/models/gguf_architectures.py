"""Find out, without importing transformers, whether the transformers that is installed reads a GGUF file's
architecture."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from bench.bounded import read_bounded, state_of
from bench.formatting import one_line
from bench.models import gguf_format as fmt
from bench.models.gguf_header import Header, read_header
from bench.models.gguf_vocabulary import TOKENS

SOURCES = ("integrations/ggml.py", "modeling_gguf_pytorch_utils.py")
SOURCE_BYTES = 4 << 20
# What transformers reads of a tokenizer without looking whether it is there: for an architecture, keys that
# must be there if the first of them is, or always if the first is empty. A test calls its converters.
NEEDED = {
    "llama": (fmt.END, fmt.BEGIN),
    "deci": (fmt.END, fmt.BEGIN),
    "phi3": ("", fmt.BEGIN, fmt.END, fmt.PAD),
}


def why_not_converted(path: Path) -> str | None:
    """Return why a GGUF file cannot be converted for engines other than llama.cpp's server; None if nothing
    is known against it.

    transformers compares architectures by parts of their names, so only one in which no name of its own
    occurs is refused here; others may still be refused when they are converted. A key of the tokenizer that
    transformers needs is named. Raises UsageError for a file that is no sound GGUF.
    """
    header, known = _header(path, state_of(path)), _names()
    architecture = header.architecture
    if not architecture or not known:
        return None
    if any(name == architecture or (len(name) > 2 and name in architecture) for name in known):
        return _without_tokenizer(header)
    return f"the installed transformers reads no GGUF of the architecture {one_line(architecture)[:40]}"


def _without_tokenizer(header: Header) -> str | None:
    """Return which key of a tokenizer is missing without which transformers makes none; None if none is."""
    given, *keys = NEEDED.get(header.architecture, ("",))
    needed = [TOKENS, *(keys if not given or given in header.tokenizer else ())]
    absent = next((key for key in needed if key not in header.tokenizer), None)
    return f"{absent} is not in the file, and transformers makes no tokenizer without it" if absent else None


@lru_cache  # for all rows of a config: a header has some hundred thousand tokens
def _header(path: Path, _state: tuple[int, int] | None) -> Header:
    return read_header(path)


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
