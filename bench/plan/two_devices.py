"""Say why the rows that work on two devices are in no plan and beside no API: each device has a price."""

from __future__ import annotations

from bench.formatting import format_significant
from bench.metrics import split, throughput
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of

LEFT_OUT = "works on two devices, each with a price of its own, and this page has the price of one machine"


def is_split(row: Row) -> bool:
    """Return whether a row is a model in two processes (``split``), of which each has a device."""
    return row.figure(split.BYTES) is not None


def split_rows(run: RunSummary) -> list[str]:
    """Return why each measured row on two devices is left out, with what it costs by both prices.

    A request costs the dollars of a thousand tokens of either kind, times its tokens.
    """
    return [f"{row.title} {LEFT_OUT}: {_cost_words(row)}" for row in run.rows if row.ok and is_split(row)]


def _cost_words(row: Row) -> str:
    per_1k, tokens = value_of(row.figure(split.COST)), _tokens_of_a_request(row)
    if per_1k is None or tokens is None:
        return "give edge_usd_per_hour and cloud_usd_per_hour in its step, and the run computes its cost"
    usd = format_significant(1000 * per_1k * tokens)
    return f"at both prices a million requests cost {usd} USD ({split.COST.key})"


def _tokens_of_a_request(row: Row) -> float | None:
    per_s, requests = (value_of(row.figure(metric)) for metric in (throughput.TOTAL, throughput.REQUESTS))
    return per_s / requests if per_s and requests else None
