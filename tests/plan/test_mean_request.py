"""The mean request of a row, from its rates: tokens a second divided by requests a second."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import UsageError
from bench.metrics import throughput
from bench.plan.served import _mix, row_called
from bench.pricing.apis import TokenMix


def row(requests: float | None, output: float | None, total: float | None) -> Any:
    metrics = (throughput.REQUESTS, throughput.OUTPUT, throughput.TOTAL)
    rates = zip(metrics, (requests, output, total), strict=True)
    figures = {metric.key: metric.scalar(rate) for metric, rate in rates}
    return SimpleNamespace(figure=lambda metric: figures[metric.key])


def test_tokens_of_a_mean_request() -> None:
    assert _mix(row(4.0, 20.0, 100.0)) == TokenMix(20.0, 5.0)


@pytest.mark.parametrize(
    "rates", [(None, 20.0, 100.0), (4.0, None, 100.0), (4.0, 20.0, None), (0.0, 20.0, 100.0)]
)
def test_a_row_without_one_of_the_rates_has_none(rates: tuple[float | None, ...]) -> None:
    assert _mix(row(*rates)) is None


def test_a_row_is_found_by_its_title() -> None:
    rows: Any = [SimpleNamespace(title=title) for title in ("baseline", "int8")]
    assert row_called(rows, "int8") is rows[1]
    with pytest.raises(UsageError, match=r"no measured row called 'int9' .*did you mean 'int8'"):
        row_called(rows, "int9")
