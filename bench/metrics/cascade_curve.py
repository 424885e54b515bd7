"""Compute the cost and quality of a cascade at every threshold, from a suite that both models answered.

The suite is the first one in ``drift.suites`` that has right and wrong answers. Quality is the share of right
answers. Some figures choose their own threshold: on one half of the items, to report it on the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from bench.drift.behaviour import Answer, Suite, items_of, suites_of, trained_on
from bench.metrics import cascade_bills, cost
from bench.pricing.cascade_cost import Rates, bill
from bench.records import ArmRecord, Cascaded, RunRecord
from bench.stats import cascade_curve, thresholds
from bench.stats.cascade_curve import Item, Point
from bench.stats.figure import ANY_NUMBER, DIFFERENCE, SHARE, Figures, Metric
from bench.stats.intervals import Interval
from bench.stats.proportions import wilson
from bench.stats.thresholds import Chosen

Both = tuple[Mapping[str, Any], Cascaded, Answer, Answer]  # item, its record, edge's answer, cloud's answer
TARGET = 0.8  # the chosen threshold must recover this share of the gap
SHOWN_POINTS = 41  # the notes of the gap keep at most this many points of the curve
_ON_HALF = "threshold chosen on one half of the items for PGR ≥ 0.8, reported on the other"
GAP = Metric(
    "cascade_gap",
    "1",
    None,
    "share right, large − edge model; paired interval by Newcombe",
    "how much better the large model is",
    range=DIFFERENCE,
)
PGR = Metric(
    "cascade_pgr",
    "1",
    "higher",
    "(q − q_edge) ÷ (q_cloud − q_edge) at the row's threshold",
    "share of the gap that the cascade recovers",
    range=ANY_NUMBER,
)
APGR = Metric(
    "cascade_apgr", "1", "higher", "∫ PGR d(share that goes on), 0.5 for a random choice; bootstrap",
    "how well the rule chooses (RouteLLM, arXiv 2406.18665)", range=ANY_NUMBER
)  # fmt: skip
CPT_50, CPT_80 = (
    Metric(
        f"cascade_cpt_{share}", "1", "lower", f"smallest share that goes on for PGR ≥ 0.{share // 10}",
        f"calls of the large model for {share} % of the gap",
    )
    for share in (50, 80)
)  # fmt: skip
USD = Metric(
    "cascade_held_out_usd",
    "USD",
    "lower",
    f"dollars a question; {_ON_HALF}",
    "cost of a question at the chosen threshold",
)
QUALITY = Metric(
    "cascade_held_out_quality",
    "1",
    "higher",
    f"share right; {_ON_HALF}",
    "share right at the chosen threshold",
    range=SHARE,
)
PLACE = 5.7
METRICS = (GAP, PGR, APGR, CPT_50, CPT_80, USD, QUALITY)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures; None for a row that is not a cascade, or if both models answered no suite.

    All figures but the gap are None if the large model is not shown to be better on these items, because
    there is then no gap to recover.
    """
    terms, result = arm.cascade, Figures({metric.key: None for metric in METRICS})
    suite, answered = _of_curve(arm, run)
    items = _items(arm, run, suite, answered)
    if terms is None or suite is None or not items:
        return result
    notes = {"suite": suite.name, "n": len(items)}
    result[GAP.key] = GAP.scalar(
        cascade_curve.gap(items),
        **notes,
        curve=_shown(cascade_curve.curve(items), terms),
        here=_shown([cascade_curve.at(items, _doubt(float(terms["threshold"]), terms))], terms)[0],
        falls=[list(pair) for pair in cascade_curve.falls(items)],
        differs_from_baseline=_differing(arm, run, suite, answered),
    )
    summed = _summed_up(items)
    if summed[0] is None:
        return result
    points = cascade_curve.curve(items)
    here = cascade_curve.at(items, _doubt(float(terms["threshold"]), terms))
    result[PGR.key] = PGR.scalar(
        cascade_curve.pgr(points, here.quality), **notes, threshold=terms["threshold"]
    )
    for metric, interval in zip((APGR, CPT_50, CPT_80), summed, strict=True):
        result[metric.key] = metric.scalar(interval, **notes)
    if (pick := thresholds.chosen(items, TARGET)) is not None:
        result |= _held_out(pick, terms, notes)
    return result


def _held_out(pick: Chosen, terms: Mapping[str, Any], notes: Mapping[str, Any]) -> Figures:
    """Return the cost and the quality at the chosen threshold, on the half of the items held out for it."""
    usd, quality = pick.kept
    right = wilson(round(pick.held_out.quality * pick.others), pick.others)
    return {
        USD.key: USD.scalar(
            pick.held_out.usd, **_of_choice(pick, pick.promised_usd, terms), kept=usd, **notes
        ),
        QUALITY.key: QUALITY.scalar(
            right, **_of_choice(pick, pick.promised_quality, terms), kept=quality, **notes
        ),
    }


def items_of_curve(arm: ArmRecord, run: RunRecord) -> tuple[Item, ...]:
    """Return the items from which the curve of a cascade is made; none for a row without a curve."""
    return _items(arm, run, *_of_curve(arm, run))


def _items(arm: ArmRecord, run: RunRecord, suite: Suite | None, answered: Sequence[Both]) -> tuple[Item, ...]:
    terms, by = arm.cascade, cascade_bills.rates_of(arm, cost.price_of(arm, run))
    if terms is None or by is None or suite is None:
        return ()
    return tuple(_item(both, suite, by, terms) for both in answered)


def _of_curve(arm: ArmRecord, run: RunRecord) -> tuple[Suite | None, list[Both]]:
    """Return the suite that gives the curve, which is the first one with right answers, and its answers."""
    suite = next((suite for suite in _suites(run) if suite.name in arm.suites), None)
    return suite, [] if suite is None else _answered(arm, run, suite)


@lru_cache(maxsize=8)
def _summed_up(items: tuple[Item, ...]) -> list[Interval | None]:
    return cascade_curve.summed_up(items, (0.5, 0.8))


def _suites(run: RunRecord) -> list[Suite]:
    return suites_of(run.spec.get("drift", {}).get("suites", ()))


def _answered(arm: ArmRecord, run: RunRecord, suite: Suite) -> list[Both]:
    """Return every item that both models answered, except two kinds.

    Items that trained the rule are left out, and so are items whose question or answer was lost on the link,
    because no threshold would have given the large model's answer there.
    """
    both, items = arm.suites[suite.name].both, items_of(run, arm, suite.name)
    if both is None or items is None:
        return []
    sides = (side.scores or side.replies for side in (both.edge, both.cloud))
    used = trained_on(arm, suite.name)
    return [
        (item, request, edge, cloud)
        for item, request, edge, cloud in zip(items, both.requests, *sides, strict=True)
        if request is not None and not request.offline and edge is not None and cloud is not None
        if item["id"] not in used
    ]


def _item(both: Both, suite: Suite, by: Rates, terms: Mapping[str, Any]) -> Item:
    item, done, edge, cloud = both
    paid = bill([done], by)
    return Item(
        doubt=_doubt(done.score, terms),
        edge=float(suite.right(item, edge)),
        cloud=float(suite.right(item, cloud)),
        edge_usd=paid.edge_usd,
        cloud_usd=paid.cloud_usd + paid.egress_usd,
        edge_s=done.edge_s,
        cloud_s=done.cloud_s + done.link_s,
    )


def _doubt(score: float, terms: Mapping[str, Any]) -> float:
    """Turn a score or threshold into a doubt, which is larger for a less sure answer, or a doubt back."""
    return -score if terms["sure"] == "above" else score


def _shown(points: Sequence[Point], terms: Mapping[str, Any]) -> list[list[float]]:
    """Return [threshold, share escalated, USD, share right, seconds] of up to 41 points, ends included."""
    step = max((len(points) - 1) / (SHOWN_POINTS - 1), 1.0)
    places = sorted({min(round(n * step), len(points) - 1) for n in range(SHOWN_POINTS)})
    return [
        [_doubt(point.limit, terms), point.escalated, point.usd, point.quality, point.seconds]
        for point in (points[place] for place in places)
    ]


def _differing(arm: ArmRecord, run: RunRecord, suite: Suite, answered: Sequence[Both]) -> int:
    """Return on how many items the baseline is right and the cascade's large model wrong, or the opposite."""
    base = run.baseline_of(arm)
    judged = list(suite.asked(base, run)) if base else []
    if judged and base is not None and base.cascade is not None:  # a gate compares a cascade with itself
        judged = [(item, cloud) for item, _done, _edge, cloud in _answered(base, run, suite)]
    alone = {item["id"]: suite.right(item, answer) for item, answer in judged}
    within = {item["id"]: suite.right(item, cloud) for item, _done, _edge, cloud in answered}
    return sum(alone[name] != right for name, right in within.items() if name in alone)


def _of_choice(pick: Chosen, promised: Interval, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choice and the prediction of the first half, as notes of a figure of the other half."""
    return {
        "target": TARGET,
        "threshold": _doubt(pick.limit, terms),
        "escalated": pick.held_out.escalated,
        "promised": [promised.value, promised.low, promised.high],
    }
