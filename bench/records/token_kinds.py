"""Classify tokens by their text: letters of a script, digits, punctuation, white space, or the rest.

This module uses only the standard library, because the worker imports it too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence

LETTERS = {"l": "latin", "c": "cjk", "a": "other_letters"}
KINDS = {**LETTERS, "d": "digits", "p": "punctuation", "w": "space", "x": "rest"}
UNFINISHED = "�"  # a decoder writes this for bytes that are not yet a whole character
MOST_PARTS = 4  # a character is at most four tokens long, because UTF-8 has at most four bytes for it
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")


def kind_of(text: str) -> str:
    """Return the kind of a token by its first character that is not white space."""
    stripped = text.strip()
    if not stripped:
        return "w" if text else "x"
    first = stripped[0]
    category = unicodedata.category(first)
    if category.startswith(("L", "M")):
        name = unicodedata.name(first, "")
        return "c" if name.startswith(CJK) else "l" if "LATIN" in name else "a"
    if category.startswith("N"):
        return "d"
    if first == UNFINISHED or category.startswith("C"):
        return "x"
    return "p"


def kinds_of(ids: Sequence[int], text: Callable[[Sequence[int]], str]) -> str:
    """Return a string with one letter of ``KINDS`` per token; ``text`` decodes a list of tokens.

    Tokens that form a character only together all get the kind of that character.
    """
    return "".join(_each(ids, text))


def _each(ids: Sequence[int], text: Callable[[Sequence[int]], str]) -> Iterator[str]:
    begun: list[int] = []
    for token in ids:
        begun.append(token)
        decoded = text(begun)
        if UNFINISHED in decoded and len(begun) < MOST_PARTS:
            continue
        yield from kind_of(decoded) * len(begun)
        begun = []
    if begun:
        yield from "x" * len(begun)
