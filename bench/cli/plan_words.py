"""Write the dollars and milliseconds of a plan as text."""

from __future__ import annotations

from collections.abc import Sequence

from bench.formatting import count, format_significant
from bench.pricing.apis import sold_as


def dollars(usd: float | None) -> str:
    """Write US dollars, without cents from a thousand on, and ``-`` for None."""
    if usd is None:
        return "-"
    return f"{usd:,.0f}" if usd >= 1000 else format_significant(usd)


def bounds(usd: float | None, interval: tuple[float, float | None] | None) -> str:
    """Write the bounds of a monthly cost, or nothing if both look like ``usd`` as it is written."""
    if interval is None:
        return ""
    low, high = dollars(interval[0]), "never" if interval[1] is None else dollars(interval[1])
    return "" if {low, high} == {dollars(usd)} else f" [{low}, {high}]"


def ms(value: float | None) -> str:
    """Write milliseconds, and ``-`` for None."""
    return "-" if value is None else format_significant(value)


def none_of_the_same(weights: Sequence[str]) -> str:
    """Say why a table of APIs has none that sells the model's weights, known under the names ``weights``."""
    if not weights:
        return "the same weights: not known who sells them, for the model has no name on a hub"
    if sellers := len(sold_as(weights)):
        return f"the same weights: sold by {count(sellers, 'API')} that --api does not name"
    return "the same weights: not sold"
