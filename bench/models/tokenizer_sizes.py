"""Refuse tokenizers whose files claim sizes for which a loader in Rust would end its process.

The loader asks for the memory before it looks further, and no limit of memory makes a sentence of that.
"""

from __future__ import annotations

import binascii
import re
from pathlib import Path

from bench.bounded import read_bounded
from bench.errors import UsageError
from bench.formatting import one_line
from bench.models.files import TEXT_MAX_BYTES
from bench.models.json_files import json_object

# A loader makes room for every id below the largest; published vocabularies have 300,000 tokens or fewer.
MOST_IDS = 10_000_000
_LONG_NUMBER = re.compile(rb'"\s*:\s*\d{8}')
# The first characters of a map of characters and the rest of it, in base64.
_MAP = re.compile(rb'"precompiled_charsmap"\s*:\s*"([^"]{0,8})([^"]*)"')
_SIZE_BYTES = 4  # at the beginning of a map: the bytes of its trie, least significant first


def check_tokenizers(directory: Path) -> None:
    """Refuse ids of tokens that no vocabulary has, and a map of characters that is longer than its file."""
    for name in ("tokenizer.json", "vocab.json"):
        if (directory / name).exists():
            content = read_bounded(directory / name, TEXT_MAX_BYTES)
            _check_map(directory / name, content)
            if _LONG_NUMBER.search(content):  # in few files; to parse one of 30 MB takes most of a second
                _check_ids(directory / name)


def _check_ids(path: Path) -> None:
    found = json_object(path, TEXT_MAX_BYTES)
    model = found.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else found
    for token, number in vocabulary.items() if isinstance(vocabulary, dict) else ():
        if type(number) is int and number >= MOST_IDS:
            raise UsageError(
                f"{path}: the token {one_line(token)[:40]!r} has the number "
                f"{one_line(str(number))[:40]}, which no vocabulary has"
            )


def _check_map(path: Path, content: bytes) -> None:
    """Hold the size at the beginning of each map of characters against the bytes that follow."""
    for found in _MAP.finditer(content):
        first, rest = found.groups()
        plain = first.replace(b"\\/", b"/").rstrip(b"\\=")  # JSON may write a slash with a backslash
        try:
            head = binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))
        except binascii.Error:
            raise UsageError(f"{path}: precompiled_charsmap is no base64") from None
        size, follow = int.from_bytes(head[:_SIZE_BYTES], "little"), 3 * (len(first) + len(rest)) // 4
        if size > follow:
            raise UsageError(
                f"{path}: precompiled_charsmap has {follow} bytes, and claims a part of {size} bytes"
            )
