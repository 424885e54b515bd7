"""Provide the texts on which two encoders are compared: queries with their documents, or texts with labels.

If the user gives no file, the texts are docstrings of Python's standard library: the first paragraph of each
is a query, and the rest is the document that belongs to it. They are read from the installed Python and not
copied into this repository. They differ between Python versions, so a result keeps a digest of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.bounded import why
from bench.errors import UsageError
from bench.formatting import MIB
from bench.store.files import is_unicode
from bench.store.json_lines import json_lines
from bench.texts import docstrings

MOST_ITEMS, MAX_LINE_BYTES, MAX_FILE_BYTES = 5000, 1 * MIB, 64 * MIB
PAIRS = 256  # 512 texts, so that the worst 1 % of the cosines are five texts
MOST_RANKED = 128  # queries; every document is ranked for each of them
SHORTEST, LONGEST_QUERY, SHORTEST_DOCUMENT = 20, 300, 80  # letters
SHIPPED = "docstrings of Python"
Label = str | int


@dataclass(frozen=True)
class TextSet:
    """Hold texts for encoders.

    ``right`` has, for each of the ``queries``, the index of its own document in ``documents``. ``labels`` has
    the right label of each text, if labels are known.
    """

    source: str
    queries: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    labels: tuple[Label, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all texts, queries first."""
        return (*self.queries, *self.documents)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the texts, pairs and labels."""
        content = [self.queries, self.documents, self.right, self.labels]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def set_for(task: str, file: str | None) -> TextSet:
    """Return the texts of a user's file, or those of Python's docstrings without a file.

    Raises UsageError if the file cannot be read or is not valid.
    """
    if file is None:
        return shipped() if task == "embedding" else TextSet(SHIPPED, documents=shipped().texts)
    try:
        rows = list(json_lines(Path(file), MOST_ITEMS, "items", MAX_LINE_BYTES, most_bytes=MAX_FILE_BYTES))
        return _paired(file, rows) if task == "embedding" else _labelled(file, rows)
    except OSError as bad:
        raise UsageError(f"{file}: {why(bad)}") from None
    except ValueError as bad:
        raise UsageError(str(bad)) from None


@cache
def shipped() -> TextSet:
    """Return up to ``PAIRS`` pairs from Python's docstrings, evenly spread over them."""
    every = list(dict(_pairs()).items())  # a query that comes again keeps its last document
    step = max(len(every) / PAIRS, 1.0)
    pairs = [every[int(number * step)] for number in range(min(PAIRS, len(every)))]
    queries, documents = tuple(query for query, _ in pairs), tuple(text for _, text in pairs)
    return TextSet(SHIPPED, queries, documents, tuple(range(len(pairs))))


def _pairs() -> Iterator[tuple[str, str]]:
    """Yield (first paragraph, the rest) of each docstring that is long enough in both parts."""
    seen: set[str] = set()
    for text in docstrings.each():
        head, _, rest = text.partition("\n\n")
        query, document = " ".join(head.split()), " ".join(rest.split())
        long_enough = SHORTEST <= len(query) <= LONGEST_QUERY and len(document) >= SHORTEST_DOCUMENT
        if long_enough and document not in seen:
            seen.add(document)
            yield query, document


def _paired(file: str, rows: list[tuple[str, object]]) -> TextSet:
    pairs = [(_text(where, row, "query"), _text(where, row, "document")) for where, row in rows]
    if len(pairs) < 2:
        raise ValueError(f"{file}: has {len(pairs)} pairs, and a ranking needs at least two")
    documents = tuple(dict.fromkeys(document for _, document in pairs))
    place = {document: number for number, document in enumerate(documents)}
    right = tuple(place[document] for _, document in pairs)
    return TextSet(Path(file).name, tuple(query for query, _ in pairs), documents, right)


def _labelled(file: str, rows: list[tuple[str, object]]) -> TextSet:
    texts = tuple(_text(where, row, "text") for where, row in rows)
    if not texts:
        raise ValueError(f"{file}: holds no text")
    labels = [(where, row.get("label")) for where, row in rows if isinstance(row, dict) and "label" in row]
    if labels and len(labels) != len(texts):
        raise ValueError(f"{file}: {len(labels)} of {len(texts)} texts have a label: give all or none")
    for where, label in labels:
        if not isinstance(label, str) and type(label) is not int:
            raise ValueError(f"{where}: label must be the name of a label, or its number from 0")
    known = tuple(label for _, label in labels if isinstance(label, str | int))
    return TextSet(Path(file).name, documents=texts, labels=known)


def _text(where: str, row: object, key: str) -> str:
    text = row.get(key) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip() or not is_unicode(text):
        raise ValueError(f"{where}: needs {key}, a text")
    return text


def places_of(labels: tuple[Label, ...], names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the index of each label in the ``names`` of a model's labels.

    Raises ValueError for a label that the model does not have.
    """
    index = {name: number for number, name in enumerate(names)}
    numbers = [label if type(label) is int else index.get(str(label), -1) for label in labels]
    for label, number in zip(labels, numbers, strict=True):
        if not 0 <= number < len(names):
            raise ValueError(f"the label {str(label)[:40]!r} is none of the model's ({', '.join(names[:8])})")
    return tuple(numbers)
