"""Write the dollars and milliseconds of a plan as text."""

from __future__ import annotations

from bench.formatting import format_significant


def dollars(usd: float | None) -> str:
    """Write US dollars, without cents from a thousand on, and ``-`` for None."""
    if usd is None:
        return "-"
    return f"{usd:,.0f}" if usd >= 1000 else format_significant(usd)


def bounds(usd: float | None, interval: tuple[float, float | None] | None) -> str:
    """Write the bounds of a monthly cost, or nothing if both are equal to ``usd``."""
    if interval is None or set(interval) == {usd}:
        return ""
    low, high = interval
    return f" [{dollars(low)}, {'never' if high is None else dollars(high)}]"


def ms(value: float | None) -> str:
    """Write milliseconds, and ``-`` for None."""
    return "-" if value is None else format_significant(value)
