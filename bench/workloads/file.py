"""Your own prompts: JSON lines, each ``{"prompt": "..."}``, optionally with ``"chat": true``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from bench.bounded import state_of, why
from bench.config.settings import WorkloadBlock
from bench.formatting import MIB, short_name
from bench.records import Json
from bench.store.files import is_unicode
from bench.store.json_lines import json_lines
from bench.workloads import Prompt

MAX_PROMPT_CHARACTERS = 1_000_000
MAX_LINE_BYTES = 8 * MIB
MAX_LINES = 1_000_000  # as many requests as a config may ask for
MOST_NAMED, MOST_LETTERS = 5, 40  # keys without a meaning that are named, and letters of one


@dataclass(frozen=True)
class _Whole:
    """What a whole file holds. ``first_chat`` is the index of the first chat prompt, infinite without one;
    ``other_keys`` are keys of lines that mean nothing here, a few more than are named at most."""

    prompts: int
    first_chat: float
    other_keys: tuple[str, ...]


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the whole file is read to find a bad line at once."""
    if workload.file is None:
        return "file", "the workload 'file' needs the path of a JSONL file"
    try:
        whole = _whole(workload.file)
    except OSError as bad:
        return "file", f"{workload.file!r} {why(bad)}"
    except ValueError as bad:
        return "file", str(bad)
    if whole.prompts < workload.requests:
        return (
            "requests",
            f"{workload.requests} requests asked for, and {workload.file} holds {whole.prompts} prompts",
        )
    if workload.input_tokens is not None and whole.first_chat < workload.requests:
        return "input_tokens", f"{workload.file} has chat prompts, and these are not cut"
    return None


def notes(workload: WorkloadBlock) -> Iterator[str]:
    """Yield a note if lines have keys that mean nothing here: their author may think that they do."""
    others = _whole(str(workload.file)).other_keys
    if others:
        named = ", ".join(short_name(key, MOST_LETTERS) for key in others[:MOST_NAMED])
        more = " …" if others[MOST_NAMED:] else ""
        yield f"{workload.file}: a line has only prompt and chat; without a meaning here: {named}{more}"


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the first ``requests`` lines of the file."""
    lines = islice(_lines(Path(str(workload.file))), workload.requests)
    return [Prompt(row["prompt"], row.get("chat") is True, workload.input_tokens) for row in lines]


def _whole(file: str) -> _Whole:
    """Return what a file holds, which is read again only if it was changed."""
    return _looked_at(file, state_of(Path(file)))


@lru_cache(maxsize=8)
def _looked_at(file: str, _state: tuple[int, int] | None) -> _Whole:
    """Read a whole file. A config may have a thousand rows, and each asks for this."""
    found, first_chat, others = 0, math.inf, dict[str, None]()
    for found, row in enumerate(_lines(Path(file)), start=1):
        if row.get("chat") and first_chat == math.inf:
            first_chat = found - 1
        if len(others) <= MOST_NAMED:
            others.update(dict.fromkeys(row.keys() - {"prompt", "chat"}))
    return _Whole(found, first_chat, tuple(sorted(others)))


def _lines(path: Path) -> Iterator[Json]:
    """Yield the object of every line. Raises ValueError for a bad line, OSError without a file."""
    for where, row in json_lines(path, MAX_LINES, "lines", MAX_LINE_BYTES):
        text = row.get("prompt") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(text, str) or not text.strip():
            raise ValueError(f'{where}: needs {{"prompt": "some text"}}')
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"{where}: the prompt is over {MAX_PROMPT_CHARACTERS} characters")
        if not is_unicode(text):
            raise ValueError(f"{where}: the prompt has half of a letter (a lone surrogate)")
        if not isinstance(row.get("chat"), bool | None):
            raise ValueError(f"{where}: chat must be true or false")
        yield row
