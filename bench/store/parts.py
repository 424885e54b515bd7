"""Make the rows and units of a run from the parts of its journal, each once however often the run is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from bench.records import ArmRecord, UnitRecord
from bench.store.journal_limits import Record, Weight, weight_of_row, weight_of_unit

Made = TypeVar("Made")


class Part(Generic[Made]):
    """What the records of a row or a unit say so far, and what is made of that."""

    def __init__(self, content: Record, make: Callable[[Any], Made], weigh: Callable[[Any], Weight]) -> None:
        self._make, self._weigh = make, weigh
        self.changed(content)

    def changed(self, content: Record) -> None:
        """Take another content, and forget what was made of an earlier one."""
        self.content = content
        self._made: Made | None = None
        self._weight: Weight | None = None

    @property
    def made(self) -> Made:
        """Return the record. Raises ValidationError if the content has another form."""
        if self._made is None:
            self._made = self._make(self.content)
        return self._made

    @property
    def weight(self) -> Weight:
        """Return how much work it asks of whoever evaluates it."""
        if self._weight is None:
            self._weight = self._weigh(self.content)
        return self._weight


def a_row() -> Part[ArmRecord]:
    """Return a row of which nothing is known yet."""
    return Part({}, _rows().validate_python, weight_of_row)


def a_unit(content: Record) -> Part[UnitRecord]:
    """Return a unit, which is written at once."""
    return Part(content, _units().validate_python, weight_of_unit)


@cache
def _rows() -> TypeAdapter[ArmRecord]:
    return TypeAdapter(ArmRecord)


@cache
def _units() -> TypeAdapter[UnitRecord]:
    return TypeAdapter(UnitRecord)
