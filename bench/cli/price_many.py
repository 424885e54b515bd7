"""Print every row of a directory of runs at another price: `bench price DIRECTORY`, from the index there."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cli.run_pages import index_of
from bench.cli.tables import align, terminal_width
from bench.errors import UsageError
from bench.formatting import count, format_significant, one_line
from bench.results.index_query import Wanted
from bench.results.repriced import Block, Repriced, repriced

TITLES = ("run", "started", "row", "$/1k tok", "now", "[95 %]", "cost ratio [95 %]")
MOST_NOTES = 5


def price_many(
    directory: Path,
    hardware: str | None,
    usd_per_hour: float | None,
    utilisation: float | None,
    vcpus: int | None,
    *,
    as_json: bool,
) -> None:
    """Print every row of the runs in a directory at another price. No run is changed."""
    from bench.measure.clock import utc_now
    from bench.pricing.reprice import new_price
    from bench.report.formats import ascii_json

    today = utc_now()[:10]

    def new_block(old: Block) -> Block:
        return new_price(old, hardware, usd_per_hour, utilisation, today, vcpus)

    runs = index_of(directory).runs(Wanted())
    if not any(run.rows for run in runs):
        raise UsageError(f"no run in {directory} can be read (bench list runs {directory})")
    everything = list(repriced(runs, new_block))
    unreadable = [f"{os.fsdecode(run.place)}: {run.why}" for run in runs if not run.rows and run.why]
    _say([f"left out: {why}" for why in unreadable])
    _say(_cautions(everything))
    if as_json:
        print(ascii_json([_as_data(each) for each in everything], indent=1))
    else:
        rows = [TITLES, *(tuple(map(one_line, _cells(each))) for each in everything)]
        print(
            "\n".join(
                [
                    *align(rows, terminal_width()),
                    "",
                    _about(everything),
                    _price_words(hardware, usd_per_hour, utilisation),
                ]
            )
        )


def _cells(priced: Repriced) -> tuple[str, ...]:
    usd, ratio = priced.usd, priced.ratio
    return (
        os.fsdecode(priced.place),
        priced.run.started[:16].replace("T", " "),
        priced.row.title,
        format_significant(priced.before),
        format_significant(usd.value if usd else None),
        _bounds(usd.low, usd.high) if usd else "",
        f"{ratio.value:.3f} {_bounds(ratio.low, ratio.high)}" if ratio else (priced.why_not or "-"),
    )


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{format_significant(low)}, {format_significant(high)}]"


def _as_data(priced: Repriced) -> dict[str, Any]:
    usd, ratio = priced.usd, priced.ratio
    return {
        "directory": os.fsdecode(priced.place),
        "run_id": priced.run.run_id,
        "started_utc": priced.run.started,
        "name": priced.row.name,
        "group": priced.row.group,
        "status": priced.row.status,
        "cost_per_1k_tokens_usd_before": priced.before,
        "cost_per_1k_tokens_usd": usd.value if usd else None,
        "cost_per_1k_tokens_usd_ci_low": usd.low if usd else None,
        "cost_per_1k_tokens_usd_ci_high": usd.high if usd else None,
        "cost_ratio": ratio.value if ratio else None,
        "cost_ratio_ci_low": ratio.low if ratio else None,
        "cost_ratio_ci_high": ratio.high if ratio else None,
        "caution": priced.caution or None,
        "reason": priced.why_not or None,
    }


def _about(rows: Sequence[Repriced]) -> str:
    runs = len({row.place for row in rows})
    priced = sum(row.usd is not None for row in rows)
    return f"{count(runs, 'run')}, {priced} of {count(len(rows), 'row')} measured and priced"


def _price_words(hardware: str | None, usd_per_hour: float | None, utilisation: float | None) -> str:
    """Say what the two columns of dollars are."""
    given = "the price of each run" if usd_per_hour is None else f"{usd_per_hour:g} USD an hour"
    share = (
        "as much of the time as each run says" if utilisation is None else f"{utilisation:.4g} of the time"
    )
    return (
        f"$/1k tok: of 1,000 tokens, in and out, at the price that the run was measured with; now: at "
        f"{hardware or given}, used {share}"
    )


def _cautions(rows: Sequence[Repriced]) -> list[str]:
    """Return each caution once, with the number of rows that it concerns."""
    said = Counter(row.caution for row in rows if row.caution)
    return [f"{count(number, 'row')}: {caution}" for caution, number in said.items()]


def _say(notes: Sequence[str]) -> None:
    for note in notes[:MOST_NOTES]:
        print(f"bench: {one_line(note)}", file=sys.stderr)
    if len(notes) > MOST_NOTES:
        print(f"bench: and {len(notes) - MOST_NOTES} more", file=sys.stderr)
