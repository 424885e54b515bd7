"""Read prompts that people wrote, from a file in one of the usual shapes of such data sets.

The file is one JSON array, or JSON lines. An entry is a conversation of ShareGPT (``conversations``, a list
of ``{"from": "human", "value": "..."}``), one of a chat API (``messages``, a list of ``{"role": "user",
"content": "..."}``), or a ``prompt`` with or without a ``response``. The first turn of the user is the
prompt, and the answer to it says how long the reply is. Other columns are not read.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bounded import Contents, open_regular, read_bounded
from bench.formatting import MIB
from bench.store.files import is_unicode, strict_json
from bench.store.json_lines import json_lines

MOST_BYTES = 1024 * MIB  # the largest set in use, ShareGPT, has 640 MiB
MOST_LINE_BYTES = 64 * MIB
MOST_ENTRIES = 5_000_000
MOST_IN_AN_ARRAY = Contents(20_000_000, 50_000_000, 20_000_000)  # signs in texts count, too
USERS = ("human", "user")
ANSWERERS = ("gpt", "assistant", "chatgpt", "bing", "bard", "model")
SHAPES = 'needs "conversations", "messages" or "prompt"'


@dataclass(frozen=True)
class Entry:
    """What somebody asked, and the recorded answer (None if the set has none)."""

    prompt: str
    answer: str | None


def entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a data set in the order of the file.

    A conversation that the user does not begin, or with an empty prompt, is passed over: the known sets have
    such ones. Raises OSError without a regular file, and ValueError with the place for an entry of no known
    shape.
    """
    for where, row in _rows(path):
        if not isinstance(row, Mapping):
            raise ValueError(f"{where}: {SHAPES}")
        entry = _entry(row, where)
        if entry is not None and entry.prompt.strip() and is_unicode(entry.prompt + (entry.answer or "")):
            yield entry


def _rows(path: Path) -> Iterator[tuple[str, object]]:
    """Yield (FILE:LINE or FILE, entry N; the entry) of an array or of lines."""
    with open_regular(path) as file:
        is_array = file.read(64).removeprefix(BOM_UTF8).lstrip()[:1] == b"["
    if not is_array:
        yield from json_lines(path, MOST_ENTRIES, "entries", MOST_LINE_BYTES, most_bytes=MOST_BYTES)
        return
    try:
        found = strict_json(read_bounded(path, MOST_BYTES).removeprefix(BOM_UTF8), MOST_IN_AN_ARRAY)
    except ValueError as bad:
        raise ValueError(f"{path}: not JSON ({bad})") from None
    assert isinstance(found, list), "it begins with a bracket"
    for number, row in enumerate(found, start=1):
        yield f"{path}, entry {number}", row


def _entry(row: Mapping[str, object], where: str) -> Entry | None:
    for key, who, said in (("conversations", "from", "value"), ("messages", "role", "content")):
        if key in row:
            return _first_exchange(row[key], who, said, f"{where}: {key}")
    prompt, answer = row.get("prompt"), row.get("response")
    if not isinstance(prompt, str) or not isinstance(answer, str | None):
        raise ValueError(f"{where}: {SHAPES}, with text in it")
    return Entry(prompt, answer)


def _first_exchange(turns: object, who: str, said: str, where: str) -> Entry | None:
    """Return the first turn of the user and the answer to it; None if the user does not begin."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise ValueError(f"{where} must be a list of turns")
    spoken = []
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get(who), str):
            raise ValueError(f'{where}: a turn needs "{who}" and "{said}"')
        if turn[who] != "system":
            spoken.append(turn)
    if not spoken or spoken[0][who] not in USERS or not isinstance(spoken[0].get(said), str):
        return None  # pictures and tools have other contents
    answer = spoken[1] if len(spoken) > 1 and spoken[1][who] in ANSWERERS else {}
    text = answer.get(said)
    return Entry(str(spoken[0][said]), text if isinstance(text, str) else None)
