"""What a server's prompt cache found, and what the same requests cost with it and without it.

A prompt that begins like an earlier one need not be computed again. The server says how many tokens of its
prompts it found (``prefix_cache_share``). What that saves can only be measured: beside a row of the same
requests whose server keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.metrics import cost
from bench.plan.served import Served
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval


@dataclass(frozen=True)
class Without:
    """The row of the same requests without a cache: the dollars of its request, and those of the row with a
    cache divided by them."""

    title: str
    request_usd: Interval
    ratio: Interval


@dataclass(frozen=True)
class CachedRow:
    """One row whose server keeps prompts.

    ``hit_rate`` is the share of the input (from 0 to 1) that it found, ``tokens`` are those of a mean request
    that it did not have to compute, of ``input_tokens``. ``without`` is None where the run has no row
    without a cache.
    """

    title: str
    hit_rate: float
    tokens: float
    input_tokens: float
    request_usd: Interval
    without: Without | None


def cached_rows(run: RunSummary, rows: Sequence[Served]) -> tuple[CachedRow, ...]:
    """Return the rows of which a server found something in its cache."""
    served = {row.title: row for row in rows}
    return tuple(
        CachedRow(
            row.title,
            one.hit_rate,
            one.hit_rate * one.mix.input_tokens,
            one.mix.input_tokens,
            one.request_usd,
            next(_without(run, row, served), None),
        )
        for row in run.rows
        if (one := served.get(row.title)) is not None and one.hit_rate
    )


def _without(run: RunSummary, row: Row, served: dict[str, Served]) -> Iterator[Without]:
    """Yield each row that differs by having no cache; the baseline of the same cell is the first."""
    with_it = served[row.title].request_usd
    for other in sorted(run.rows, key=lambda one: one is not run.baseline_of(row)):
        one = served.get(other.title)
        if one is None or other is row or not _alike(row, other) or not _keeps_nothing(other, one):
            continue
        found = run.comparison(row, cost.PER_REQUEST) if other is run.baseline_of(row) else None
        ratio = Interval(with_it.value / one.request_usd.value, None, None)
        if found is not None:
            ratio = Interval(found.ratio, found.ci_low, found.ci_high)
        yield Without(other.title, one.request_usd, ratio)


def _alike(row: Row, other: Row) -> bool:
    """Return whether both rows answer the same requests with the same model on the same engine.

    The options of the engine may differ: one of them switches the cache off.
    """
    return (
        all(getattr(row, what) == getattr(other, what) for what in ("group", "model", "optimisations"))
        and dict(row.workload) == dict(other.workload)
        and all(row.runtime.get(key) == other.runtime.get(key) for key in ("name", "device", "dtype"))
    )


def _keeps_nothing(row: Row, served: Served) -> bool:
    """Return whether the server says that it keeps no prompts, or found none."""
    steps = row.evidence.steps if row.evidence else ()
    settings = next((step["server"].get("settings") for step in steps if "server" in step), None) or {}
    return settings.get("prefix_caching") is False or served.hit_rate == 0
