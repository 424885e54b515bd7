"""Compute mean KL by place in the window, kind of the next token, and script, to show which tokens move.

The notes of each figure have the share of positions with the same next token (``top1``) and their number
(``n``).
"""

from __future__ import annotations

from bench.drift import parts
from bench.records import ArmRecord, RunRecord
from bench.records.token_kinds import KINDS, LETTERS
from bench.stats.figure import Figures, Metric
from bench.stats.intervals import bootstrap_interval

PLACE = 8.2
_BY = "interval by bootstrap over windows"
PLACES = {
    f"quarter_{n}": Metric(
        f"kld_quarter_{n}", "nat", "lower", f"mean KL in quarter {n} of the windows; {_BY}", ""
    )
    for n in range(1, parts.QUARTERS + 1)
}
TOKENS = {
    name: Metric(
        f"kld_of_{name}", "nat", "lower", f"mean KL where the next token is of kind {name}; {_BY}", ""
    )
    for name in KINDS.values()
}
SCRIPTS = {
    name: Metric(
        f"kld_in_{name}", "nat", "lower", f"mean KL of windows whose letters are mostly {name}; {_BY}", ""
    )
    for name in LETTERS.values()
}
METRICS = (*PLACES.values(), *TOKENS.values(), *SCRIPTS.values())


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a variant; None for a baseline, and for a part without any position."""
    result: Figures = {metric.key: None for metric in METRICS}
    if arm.is_baseline or not arm.drift:
        return result
    for metrics, split in ((PLACES, parts.by_place), (TOKENS, parts.by_token), (SCRIPTS, parts.by_script)):
        for name, part in split(arm.drift).items():
            if part.positions:
                top1 = sum(map(sum, part.same_top)) / part.positions
                result[metrics[name].key] = metrics[name].scalar(
                    bootstrap_interval(part.kld), n=part.positions, windows=len(part.kld), top1=top1
                )
    return result
