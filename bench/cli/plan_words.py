"""How the pages of a plan write dollars and milliseconds."""

from __future__ import annotations

from bench.formatting import format_significant


def dollars(usd: float | None) -> str:
    """Write dollars: whole ones from a thousand on; - for None."""
    if usd is None:
        return "-"
    return f"{usd:,.0f}" if usd >= 1000 else format_significant(usd)


def bounds(usd: float | None, found: tuple[float, float | None] | None) -> str:
    """Write the bounds of the dollars of a month, if they differ from ``usd``."""
    if found is None or set(found) == {usd}:
        return ""
    low, high = found
    return f" [{dollars(low)}, {'never' if high is None else dollars(high)}]"


def ms(found: float | None) -> str:
    """Write milliseconds; - for None."""
    return "-" if found is None else format_significant(found)
