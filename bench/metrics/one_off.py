"""Compute the one-off cost of an optimisation, and after how many requests it has paid for itself."""

from __future__ import annotations

from dataclasses import replace

from bench.metrics import cost
from bench.metrics.comparisons import compare
from bench.pricing import cost as model
from bench.records import ArmRecord, Loaded, RunRecord
from bench.stats.figure import Figures, Metric, value_of
from bench.stats.plain_sum import plain_sum
from bench.stats.ratio_verdict import Verdict

USD = Metric(
    "one_off_usd",
    "USD",
    "lower",
    "seconds of calibration and training · R · G/u / 3600",
    "cost of calibration and training",
)
BREAK_EVEN = Metric(
    "break_even_requests", "1", "lower", model.FORMULA_BREAK_EVEN, "requests after which this cost is saved"
)
# The same where the work used another number of processors than the row does.
WITH_PROCESSORS = USD.formula.replace(" · R", " · their processors / the row's · R")
PLACE = 6
METRICS = (USD, BREAK_EVEN)


def seconds(arm: ArmRecord) -> float | None:
    """Return the seconds of calibration and training; 0.0 if there was none, None if nothing was loaded."""
    if arm.loaded is None:
        return None
    return plain_sum((0.0, *(float(bill["took_s"]) for bill in arm.loaded.one_off_bills())))


def _paid_seconds(loaded: Loaded) -> float:
    """Return the seconds that must be paid at the row's price.

    If the work used twice as many processors as the row uses for serving, its time counts twice. On a GPU the
    price is that of the GPU, so processors do not matter.
    """
    threads = None if loaded.facts.on_gpu else loaded.facts.threads
    total = 0.0
    for bill in loaded.one_off_bills():
        processors = bill.get("details", {}).get("processors")
        total += bill["took_s"] * (processors / threads if processors and threads else 1.0)
    return total


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return both figures; None without one-off work. The break-even also needs the verdict ``better``."""
    result: Figures = {metric.key: None for metric in METRICS}
    spent = seconds(arm)
    if not spent or arm.loaded is None:
        return result
    paid_s = _paid_seconds(arm.loaded)
    usd = paid_s * cost.hourly_usd(arm, run) / 3600
    known = [share for bill in arm.loaded.one_off_bills() if (share := bill.get("others")) is not None]
    beside = {"others": max(known)} if known else {}
    by = USD if paid_s == spent else replace(USD, formula=WITH_PROCESSORS)
    result[USD.key] = by.scalar(usd, seconds=spent, **beside)
    base = run.baseline_of(arm)
    paid = value_of(cost.figures(base, run)[cost.PER_REQUEST.key]) if base else None
    ratio = next((each for each in compare(run, arm) if each.metric == cost.PER_REQUEST.key), None)
    if paid is not None and ratio is not None and ratio.verdict == Verdict.BETTER:
        result[BREAK_EVEN.key] = BREAK_EVEN.scalar(
            model.break_even_requests(usd, paid, paid * ratio.ratio), saving_usd=paid * (1 - ratio.ratio)
        )
    return result
