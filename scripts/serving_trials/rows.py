"""Keep the rows of a measurement in a compressed JSON-lines file, so that a measurement goes on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Rows:
    """The rows of one measurement. The first line of the file is what was asked for.

    Raises SystemExit if the file holds the rows of other settings: they cannot be put into one table.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self._path, self._asked = path, json.loads(json.dumps(asked))
        self.rows: list[Row] = []
        if path.exists():
            with gzip.open(path, "rt") as file:
                head, *self.rows = map(json.loads, file)
            if head != self._asked:
                changed = [key for key in head | self._asked if head.get(key) != self._asked.get(key)]
                raise SystemExit(f"{path} was measured with another {', '.join(changed)}: give --out")

    def find(self, **keys: object) -> Row | None:
        """Return the row that has these values, or None."""
        return next((row for row in self.rows if all(row.get(key) == keys[key] for key in keys)), None)

    def add(self, row: Mapping[str, Any]) -> Row:
        """Keep a row, on the disk too, and return it. The file is replaced as a whole: it is never torn."""
        self.rows.append(json.loads(json.dumps(row, allow_nan=False)))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        staged = self._path.with_suffix(".part")
        lines = "".join(json.dumps(one) + "\n" for one in [self._asked, *self.rows])
        staged.write_bytes(gzip.compress(lines.encode(), mtime=0))
        staged.replace(self._path)
        return self.rows[-1]
