"""Your own prompts: JSON lines, each ``{"prompt": "..."}``, optionally with ``"chat": true``."""

from __future__ import annotations

from pathlib import Path

from bench.bounded import read_bounded, why
from bench.config.spec import WorkloadBlock
from bench.formatting import MIB
from bench.store.files import strict_json
from bench.workloads import Prompt

MAX_PROMPT_CHARACTERS = 1_000_000
MAX_FILE_BYTES = 256 * MIB


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the whole file is read to find a bad line at once."""
    if workload.file is None:
        return "file", "the workload 'file' needs the path of a JSONL file"
    try:
        found = len(_read(Path(workload.file)))
    except OSError as bad:
        return "file", f"{workload.file!r} {why(bad)}"
    except ValueError as bad:
        return "file", str(bad)
    if found < workload.requests:
        return (
            "requests",
            f"{workload.requests} requests asked for, and {workload.file} holds {found} prompts",
        )
    return None


def prompts(workload: WorkloadBlock) -> list[Prompt]:
    """Return the first ``requests`` lines of the file."""
    return [
        Prompt(text, chat, workload.input_tokens)
        for text, chat in _read(Path(str(workload.file)))[: workload.requests]
    ]


def _read(path: Path) -> list[tuple[str, bool]]:
    """Return (prompt, chat) of every line. Raises ValueError with the first bad line, OSError without a
    file."""
    rows: list[tuple[str, bool]] = []
    for number, line in enumerate(read_bounded(path, MAX_FILE_BYTES).splitlines(), start=1):
        try:
            row = strict_json(line)
        except ValueError as bad:
            raise ValueError(f"{path}:{number}: not JSON ({bad})") from None
        text, chat = (row.get("prompt"), row.get("chat")) if isinstance(row, dict) else (None, None)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f'{path}:{number}: needs {{"prompt": "some text"}}')
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"{path}:{number}: the prompt is over {MAX_PROMPT_CHARACTERS} characters")
        rows.append((text, chat is True))
    return rows
