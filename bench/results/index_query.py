"""Make the query of an index for the runs that a list shows, and their order.

Text from the user is always a value of the query, never a part of its SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from bench.errors import UsageError
from bench.formatting import did_you_mean
from bench.results.index_records import NO_RUN, UNREADABLE

# Selects rows of a run with the wanted steps, and the least figure of the measured rows among them. That of
# all measured rows is kept with the run.
_ROW = "rows.run = runs.id AND instr(lower(steps), ?)"
_LEAST = f"(SELECT min({{of}}) FROM rows WHERE {_ROW} AND status = 'ok')"
_ORDERS = {
    "date": "started DESC, place DESC",
    "name": "name, started DESC",
    "model": "models, started DESC",
    "status": "status, started DESC",
    "cost": "least_cost NULLS LAST, started DESC",
    "ratio": "least_ratio NULLS LAST, started DESC",
}
SORTS = tuple(_ORDERS)
NOT_FINISHED = "not finished"  # as the table calls a run without a verdict that was cut short
_OF_ROWS = ("cost", "ratio")


@dataclass(frozen=True)
class Wanted:
    """The conditions for a run to be listed; None means no condition.

    ``model``, ``machine`` and ``scheme`` are parts of a name in upper or lower case. ``since`` and ``until``
    are the first and last day (YYYY-MM-DD, UTC). ``max_cost`` is in US dollars per thousand tokens of a row
    with the scheme. ``status`` is the status of the run or the verdict of its gate. ``most`` limits the
    number of runs; 0 means all.
    """

    model: str | None = None
    scheme: str | None = None
    machine: str | None = None
    since: str | None = None
    until: str | None = None
    status: str | None = None
    max_cost: float | None = None
    sort: str = "date"
    most: int = 0

    def query(self, columns: str) -> tuple[str, tuple[object, ...]]:
        """Return (query for these runs, its values). Raises UsageError for an invalid condition or order."""
        if self.sort not in _ORDERS:
            raise UsageError(f"cannot sort by {self.sort[:60]!r} ({_meant(self.sort, SORTS)})")
        if self.most < 0:
            raise UsageError(f"cannot show {self.most} runs")
        where, values = self._conditions()
        order, ordered = f"ORDER BY {_ORDERS[self.sort]}", tuple[str, ...]()
        if self.sort in _OF_ROWS and self._steps:
            least = _LEAST.format(of=self.sort)
            order, ordered = order.replace(f"least_{self.sort}", least), (self._steps,)
        chosen = f"SELECT id FROM runs WHERE {where} {order} LIMIT ?"  # so that others' columns are not read
        return (
            f"SELECT {columns} FROM runs WHERE id IN ({chosen}) {order}",
            (*values, *ordered, self.most or -1, *ordered),
        )

    def count(self) -> tuple[str, tuple[object, ...]]:
        """Return (query for the number of these runs, its values)."""
        where, values = self._conditions()
        return f"SELECT count(*) FROM runs WHERE {where}", values

    @property
    def _steps(self) -> str:
        return (self.scheme or "").lower()

    def _conditions(self) -> tuple[str, tuple[object, ...]]:
        self._must_mean_something()
        conditions: list[tuple[str, tuple[object, ...]]] = [("status != ?", (NO_RUN,))]
        for column, part in (("models", self.model), ("machine", self.machine)):
            if part is not None:
                conditions.append((f"instr(lower({column}), ?)", (part.lower(),)))
        if self.since is not None:
            conditions.append(("started >= ?", (str(_day("--since", self.since)),)))
        if self.until is not None:
            conditions.append(("substr(started, 1, 10) <= ?", (str(_day("--until", self.until)),)))
        if self.status is not None:
            conditions.append(_status(self.status))
        if self.scheme is not None or self.max_cost is not None:
            conditions.append(self._of_a_row())
        every = tuple(value for _, values in conditions for value in values)
        return " AND ".join(part for part, _ in conditions), every

    def _must_mean_something(self) -> None:
        if self.max_cost is not None and self.max_cost < 0:
            raise UsageError(f"--max-cost {self.max_cost:g}: nothing costs less than 0")
        first = None if self.since is None else _day("--since", self.since)
        last = None if self.until is None else _day("--until", self.until)
        if first is not None and last is not None and first > last:
            raise UsageError(f"--since {first} is after --until {last}")

    def _of_a_row(self) -> tuple[str, tuple[object, ...]]:
        if self.max_cost is not None and not self._steps:
            return "least_cost <= ?", (self.max_cost,)
        if self.max_cost is None:
            return f"EXISTS (SELECT 1 FROM rows WHERE {_ROW})", (self._steps,)
        cheap = f"EXISTS (SELECT 1 FROM rows WHERE {_ROW} AND status = 'ok' AND cost <= ?)"
        return cheap, (self._steps, self.max_cost)


def _status(given: str) -> tuple[str, tuple[object, ...]]:
    from bench.gate.findings import GateVerdict
    from bench.results.run_summary import RunStatus

    statuses = (*map(str, RunStatus), UNREADABLE)
    if given.lower() in statuses:
        return "status = ?", (given.lower(),)
    if given.upper() in tuple(GateVerdict):
        return "verdict = ?", (given.upper(),)
    if given.lower() == NOT_FINISHED:
        return "finished IS NULL AND verdict = '' AND status != ?", (UNREADABLE,)
    known = (*statuses, NOT_FINISHED, *(str(verdict).lower() for verdict in GateVerdict))
    raise UsageError(f"no status called {given[:60]!r} ({_meant(given.lower(), known)})")


def _meant(given: str, known: tuple[str, ...]) -> str:
    return did_you_mean(given, map(str, known), f"known: {', '.join(known)}")


def _day(option: str, text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"{option}: {text[:40]!r} is not a day, YYYY-MM-DD")
