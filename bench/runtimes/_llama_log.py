"""Keep what llama.cpp says while it loads a model: it is a page for each, of which the first error counts."""

from __future__ import annotations

import ctypes
from typing import Any

from bench.formatting import one_line

MOST_SAID = 200
_ERROR = b"error"
_errors: list[bytes] = []


def _hear(_level: int, text: bytes | None, _data: object) -> None:
    if text and not _errors and _ERROR in text.lower():
        _errors.append(text)


_HEAR: Any = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_hear)


def listen() -> None:
    """Print nothing of what llama.cpp says from now on, and forget what it has said."""
    import llama_cpp

    _errors.clear()
    llama_cpp.llama_log_set(_HEAR, ctypes.c_void_p())


def reason() -> str:
    """Return the first error since ``listen``, in parentheses; '' if there was none."""
    if not _errors:
        return ""
    said = _errors[0].decode(errors="replace").strip()
    return f" ({one_line(said.rpartition('error loading model: ')[2])[:MOST_SAID]})"
