"""Your own prompts: JSON lines, each ``{"prompt": "..."}``, optionally with ``"chat": true``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench.bounded import open_regular, why
from bench.config.spec import WorkloadBlock
from bench.formatting import MIB
from bench.store.files import strict_json
from bench.workloads import Prompt

MAX_PROMPT_CHARACTERS = 1_000_000
MAX_LINE_BYTES = 8 * MIB
MAX_LINES = 1_000_000  # as many requests as a config may ask for


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the whole file is read to find a bad line at once."""
    if workload.file is None:
        return "file", "the workload 'file' needs the path of a JSONL file"
    found, chats = 0, False
    try:
        for _text, chat in _lines(Path(workload.file)):
            chats |= chat and found < workload.requests
            found += 1
    except OSError as bad:
        return "file", f"{workload.file!r} {why(bad)}"
    except ValueError as bad:
        return "file", str(bad)
    if found < workload.requests:
        return (
            "requests",
            f"{workload.requests} requests asked for, and {workload.file} holds {found} prompts",
        )
    if workload.input_tokens is not None and chats:
        return "input_tokens", f"{workload.file} has chat prompts, and these are not cut"
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the first ``requests`` lines of the file."""
    lines = islice(_lines(Path(str(workload.file))), workload.requests)
    return [Prompt(text, chat, workload.input_tokens) for text, chat in lines]


def _lines(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (prompt, chat) of every line. Raises ValueError for a bad line, OSError without a file."""
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
            if number > MAX_LINES or len(line) == MAX_LINE_BYTES:
                raise ValueError(f"{path}:{number}: more than {MAX_LINES} lines, or a line of 8 MiB")
            try:
                row = strict_json(line)
            except ValueError as bad:
                raise ValueError(f"{path}:{number}: not JSON ({bad})") from None
            text, chat = (row.get("prompt"), row.get("chat")) if isinstance(row, dict) else (None, None)
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f'{path}:{number}: needs {{"prompt": "some text"}}')
            if len(text) > MAX_PROMPT_CHARACTERS:
                raise ValueError(f"{path}:{number}: the prompt is over {MAX_PROMPT_CHARACTERS} characters")
            if not _can_be_written(text):
                raise ValueError(f"{path}:{number}: the prompt has half of a letter (a lone surrogate)")
            if not isinstance(chat, bool | None):
                raise ValueError(f"{path}:{number}: chat must be true or false")
            yield text, chat is True


def _can_be_written(text: str) -> bool:
    """Return whether the text is Unicode; JSON can name halves of letters that no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
