"""Report formats: one module each, found by its file name (``pytest-benchmark`` is ``pytest_benchmark.py``).

A format has four things and nothing else is asked of it:

- a docstring whose first line says what it is (``bench list reports`` prints it);
- ``SUFFIX: str``, the end of its file's name, without a leading dot;
- ``REQUIRES: tuple[str, ...]``, the packages it needs beyond the core;
- ``render(runs) -> str | bytes``, where ``runs`` are the contents of one ``run.json`` each. A pure function:
  no clock, no file, no torch; the same runs give the same bytes.

Names and reasons in a run are other people's text (a model's name, a worker's last words), so each format
takes the runs through ``harmless`` and then escapes by its own rules. What all formats share stands here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.api import Run
from bench.errors import IntegrityError
from bench.formatting import printable

RunData = Mapping[str, Any]
FlatRow = dict[str, Any]


def harmless(value: Any) -> Any:
    """``value`` with every string in it, keys included, on one line and without control characters.

    ANSI sequences, NUL, U+2028, text direction marks and halves of surrogate pairs become U+FFFD; a line
    break becomes a space. Markup stays: what is markup depends on the format.
    """
    if isinstance(value, str):
        return printable(value.replace("\r\n", "\n")).replace("\n", " ")
    if isinstance(value, Mapping):
        return {harmless(key): harmless(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [harmless(item) for item in value]
    return value


def flat_rows(runs: Sequence[RunData]) -> list[FlatRow]:
    """One flat row a variant (``Run.rows``) of all runs, led by which run it is; all rows have all keys."""
    rows = [{**_which(data), **row} for data in runs for row in Run(Path(data["run_id"]), data).rows()]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def _which(data: RunData) -> FlatRow:
    return {
        "run_id": data["run_id"],
        "run_name": data["name"],
        "started_utc": data["started_utc"],
        "model": (data["model"] or {}).get("name"),
    }


def ascii_json(value: object, indent: int | None = None) -> str:
    """JSON in ASCII, so that neither U+2028 nor an ANSI sequence stands in it raw.

    Raises IntegrityError for NaN and infinity: no run the harness writes holds any.
    """
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)
    except ValueError as bad:
        raise IntegrityError(f"a figure in the run is not finite ({bad}); see `bench verify`") from None


def row_name(variant: Mapping[str, Any]) -> str:
    """A row's name within its run: the cell of the sweep, if there is one, and the variant."""
    return " ".join(filter(None, (variant["group"], variant["name"])))
