"""A clock that nobody has set, or set wrongly."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from bench.errors import BenchError
from bench.measure import clock


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), "1970-01-01T00:00:00Z"),
        (datetime(1, 1, 1, 2, 3, 4, 567, tzinfo=UTC), "0001-01-01T02:03:04Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
    ],
)
def test_every_date_has_four_digits_of_a_year(
    monkeypatch: pytest.MonkeyPatch, at: datetime, said: str
) -> None:
    """``strftime`` writes the year 1 as 1, which no reader of a journal takes."""
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=lambda _zone: at))
    assert clock.utc_now() == said


@pytest.mark.parametrize("raised", [ValueError, OverflowError, OSError])
def test_a_clock_beyond_every_date_is_said(monkeypatch: pytest.MonkeyPatch, raised: type[Exception]) -> None:
    def now(_zone: object) -> datetime:
        raise raised("year 10000 is out of range")

    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=now))
    with pytest.raises(BenchError, match="clock of this machine is not between the years 1 and 9999"):
        clock.utc_now()
