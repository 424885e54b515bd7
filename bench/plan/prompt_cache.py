"""Compare the cost of the same requests with and without a server's prompt cache.

The part of a prompt that equals the start of an earlier one need not be computed again. The server reports
the share of its prompt tokens that it found in the cache (``prefix_cache_share``). What this saves must be
measured: the run needs a second row with the same requests and a server without a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics import cost
from bench.plan.served import Served
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval


@dataclass(frozen=True)
class Without:
    """The row with the same requests whose server has no cache.

    ``request_usd`` is its cost per request, and ``ratio`` the cost with a cache divided by it.
    """

    title: str
    request_usd: Interval
    ratio: Interval


@dataclass(frozen=True)
class CachedRow:
    """One row whose server has a prompt cache.

    ``hit_rate`` is the share of the input (from 0 to 1) that was found in the cache: ``tokens`` of the
    ``input_tokens`` of a mean request. ``without`` is None if the run has no row without a cache.
    """

    title: str
    hit_rate: float
    tokens: float
    input_tokens: float
    request_usd: Interval
    without: Without | None


def cached_rows(run: RunSummary, rows: Sequence[Served]) -> tuple[CachedRow, ...]:
    """Return the rows whose server found some of its prompts in its cache."""
    served = {row.title: row for row in rows}
    return tuple(
        CachedRow(
            row.title,
            cached.hit_rate,
            cached.hit_rate * cached.mix.input_tokens,
            cached.mix.input_tokens,
            cached.request_usd,
            next(_without(run, row, served), None),
        )
        for row in run.rows
        if (cached := served.get(row.title)) is not None and cached.hit_rate
    )


def share_found(run: RunSummary, rows: Sequence[Served], workload: Mapping[str, Any]) -> float:
    """Return the largest share of the input that a server found in its cache, of those with this workload."""
    alike = {row.title for row in run.rows if dict(row.workload) == dict(workload)}
    return max((row.hit_rate or 0.0 for row in rows if row.title in alike), default=0.0)


def _without(run: RunSummary, row: Row, served: dict[str, Served]) -> Iterator[Without]:
    """Yield each row that differs only in having no cache, the baseline of the same cell first."""
    base, cached_usd = run.baseline_of(row), served[row.title].request_usd
    for other in sorted(run.rows, key=lambda each: each is not base):
        uncached = served.get(other.title)
        if uncached is None or other is row or not _alike(row, other) or not _has_no_cache(other, uncached):
            continue
        compared = run.comparison(row, cost.PER_REQUEST) if other is base else None
        ratio = Interval(cached_usd.value / uncached.request_usd.value, None, None)
        if compared is not None:
            ratio = Interval(compared.ratio, compared.ci_low, compared.ci_high)
        yield Without(other.title, uncached.request_usd, ratio)


def _alike(row: Row, other: Row) -> bool:
    """Return whether both rows answer the same requests with the same model on the same engine.

    The engine's options are not compared, because one of them switches the cache off.
    """
    return (
        all(getattr(row, what) == getattr(other, what) for what in ("group", "model", "optimisations"))
        and dict(row.workload) == dict(other.workload)
        and all(row.runtime.get(key) == other.runtime.get(key) for key in ("name", "device", "dtype"))
    )


def _has_no_cache(row: Row, served: Served) -> bool:
    """Return whether the server's settings switch the cache off, or nothing was found in the cache."""
    steps = row.evidence.steps if row.evidence else ()
    settings = next((step["server"].get("settings") for step in steps if step.get("server")), None) or {}
    return settings.get("prefix_caching") is False or served.hit_rate == 0
