"""Say how much of the processors others used while a row was timed, from the noise recorded with the row.

"Others" are the hypervisor, and all processes except the harness and its workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.formatting import printable
from bench.results.row import Row
from bench.results.run_summary import RunSummary

# The default of measure.max_disturbance. This part of the program must not import it; a test compares both.
OTHERS_SHARE = 0.05
ALONE = ("solo",)
IN_TURNS = ("duet", "pair", "pairs", "unit")  # stages of valid pairs; those of void pairs have other names


def others_alone(row: Row) -> float:
    """Return the share of the processors that others had in the last solo pass, which is the valid one.

    Returns 0 if it is not known.
    """
    return [0.0, *_shares(row, ALONE)][-1]


def others_in_turns(row: Row) -> float:
    """Return the largest share that others had in any pair of the row's ratio; 0 if it is not known."""
    return max(_shares(row, IN_TURNS), default=0.0)


def _shares(row: Row, stages: Sequence[str]) -> list[float]:
    return [_share(noise) for noise in row.noise if noise["stage"] in stages]


def _share(noise: Mapping[str, Any]) -> float:
    """Return the share of the hypervisor plus the share of other processes."""
    return float(noise.get("steal_share") or 0.0) + float(noise.get("foreign_share") or 0.0)


def quiet_words(run: RunSummary) -> str:
    """Describe the worst timed pass of a run, such as "others had at most 72% of the processors"."""
    shares = [(others_alone(row), row, "solo pass") for row in run.rows if _shares(row, ALONE)]
    shares += [(others_in_turns(row), row, "turns") for row in run.rows if _shares(row, IN_TURNS)]
    if not shares:
        return "what others had of the processors is not recorded"
    share, row, stage = max(shares, key=lambda entry: entry[0])
    return printable(f"others had at most {share:.0%} of the processors ({row.title}, {stage})")


def alone_notes(sides: Sequence[tuple[RunSummary, Row]]) -> Iterator[str]:
    """Yield a note for each (run, row) whose figure was measured alone and disturbed by others."""
    for run, row in sides:
        share = others_alone(row)
        if share > OTHERS_SHARE:
            yield f"others had {share:.0%} of the processors while {run.run_id} measured this row alone"


def in_turns_notes(sides: Sequence[tuple[RunSummary, Row]]) -> Iterator[str]:
    """Yield a note for each (run, row) whose ratio was measured while others used the processors.

    They slow both sides, so the interval of the ratio is still used.
    """
    for run, row in sides:
        share = others_in_turns(row)
        if share > OTHERS_SHARE:
            yield f"others had up to {share:.0%} of the processors while {run.run_id} measured this ratio"
