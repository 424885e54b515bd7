"""Your own prompts: JSON lines, each ``{"prompt": "..."}``, optionally with ``"chat": true``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from bench.bounded import state_of, why
from bench.config.settings import WorkloadBlock
from bench.formatting import MIB
from bench.store.files import is_unicode
from bench.store.json_lines import json_lines
from bench.workloads import Prompt

MAX_PROMPT_CHARACTERS = 1_000_000
MAX_LINE_BYTES = 8 * MIB
MAX_LINES = 1_000_000  # as many requests as a config may ask for


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the whole file is read to find a bad line at once."""
    if workload.file is None:
        return "file", "the workload 'file' needs the path of a JSONL file"
    try:
        found, first_chat = _counted(workload.file, state_of(Path(workload.file)))
    except OSError as bad:
        return "file", f"{workload.file!r} {why(bad)}"
    except ValueError as bad:
        return "file", str(bad)
    if found < workload.requests:
        return (
            "requests",
            f"{workload.requests} requests asked for, and {workload.file} holds {found} prompts",
        )
    if workload.input_tokens is not None and first_chat < workload.requests:
        return "input_tokens", f"{workload.file} has chat prompts, and these are not cut"
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the first ``requests`` lines of the file."""
    lines = islice(_lines(Path(str(workload.file))), workload.requests)
    return [Prompt(text, chat, workload.input_tokens) for text, chat in lines]


@lru_cache(maxsize=8)
def _counted(file: str, _state: tuple[int, int] | None) -> tuple[int, float]:
    """Return how many prompts a file holds, and the index of the first chat prompt (infinite without one). A
    config may have a thousand rows, and each asks for this."""
    found, first_chat = 0, math.inf
    for found, (_text, chat) in enumerate(_lines(Path(file)), start=1):
        if chat and first_chat == math.inf:
            first_chat = found - 1
    return found, first_chat


def _lines(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (prompt, chat) of every line. Raises ValueError for a bad line, OSError without a file."""
    for where, row in json_lines(path, MAX_LINES, "lines", MAX_LINE_BYTES):
        text, chat = (row.get("prompt"), row.get("chat")) if isinstance(row, dict) else (None, None)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f'{where}: needs {{"prompt": "some text"}}')
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"{where}: the prompt is over {MAX_PROMPT_CHARACTERS} characters")
        if not is_unicode(text):
            raise ValueError(f"{where}: the prompt has half of a letter (a lone surrogate)")
        if not isinstance(chat, bool | None):
            raise ValueError(f"{where}: chat must be true or false")
        yield text, chat is True
