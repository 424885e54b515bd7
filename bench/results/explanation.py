"""Explain each figure of a row: its formula, the formula with numbers, and the figure in the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.metrics import cost, device, latency, roofline, worked
from bench.metrics.throughput import totals
from bench.records import ArmRecord, RunRecord
from bench.results.paired_figures import alone, product, shown, shown_value
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, Metric, value_of
from bench.stats.intervals import Interval

BUSY_ENOUGH = 0.75  # share of a step for which the GPU must work, or the step is bound by the processor
MEMORY_BINDS = 0.6  # share of the bandwidth from which a step is bound by memory
REST = "a request and its phases are compared each by itself, and take turns of other lengths"


@dataclass(frozen=True)
class Explained:
    """The explanation of one figure of a row.

    ``alone`` is the row's own figure, and ``arithmetic`` its formula with the row's numbers, if there is such
    a text for it. ``shown`` is the figure in the table. If both sides were measured in turns, it is the
    baseline's figure multiplied by the ratio, and ``times`` has that multiplication as text. A figure without
    a ratio of its own is multiplied as a figure that shares its time. Otherwise it is the row's own. ``test``
    has the counts of a behaviour suite and their p-value.
    """

    key: str
    unit: str
    formula: str
    alone: float
    arithmetic: str | None
    shown: Interval
    times: str | None
    test: str | None = None


@dataclass(frozen=True)
class Part:
    """One part of the difference between the costs per request of a variant and its baseline.

    ``usd`` is what the part adds, in US dollars; it is negative if the part saves money. ``words`` say what
    has changed.
    """

    name: str
    usd: float
    words: str


def explained(run: RunSummary, record: RunRecord, row: Row) -> Iterator[Explained]:
    """Yield an explanation of every figure that the row has, in the order of the metric families."""
    arm = arm_of(record, row)
    arithmetic = worked(arm, record)
    for key, figure in row.figures():
        if figure is None:
            continue
        interval, own = shown(run, row, key) or figure.interval, alone(figure)
        ratio, times = run.comparison(row, key), None
        if ratio is not None and product(run, row, key) is not None:
            times = f"{interval.value / ratio.ratio:.6g} * {ratio.ratio:.6g}"
        elif own not in (0.0, interval.value):
            times = f"{own:.6g} * {interval.value / own:.6g}"
        numbers = arithmetic.get(key)
        yield Explained(
            key, figure.unit, figure.formula, own, numbers, interval, times, counted_words(figure)
        )


def counted_words(figure: Figure) -> str | None:
    """Say how many items a row lost and gained, and what the test says of that alone."""
    notes = figure.notes
    if "lost" not in notes or "n" not in notes:
        return None
    words = f"{notes['gained']} gained, {notes['lost']} lost of {notes['n']}"
    return f"{words}; p = {notes['p']:.2g}, not corrected for other tests" if "p" in notes else words


def arm_of(record: RunRecord, row: Row) -> ArmRecord:
    """Return the journal's record of a row."""
    return next(arm for arm in record.arms if (arm.group, arm.name) == row.key)


def waterfall(run: RunSummary, record: RunRecord, row: Row) -> list[Part] | None:
    """Split the difference between the costs per request of a row and its baseline into four parts.

    The prompt is the baseline's cost of its prompt (by the time of prefill and decode), times the relative
    change of the time to the first token. The further tokens are the baseline's cost of decoding times the
    change of the time per token. The price of an hour changes if the variant occupies more or fewer
    processors. The rest is what remains, because the ratios of a request and of its two phases are estimated
    each by itself. Returns None if the baseline's prefill and decode were not timed.
    """
    base = run.baseline_of(row)
    share = _split(record, base)
    start, end = (shown_value(run, side, cost.PER_REQUEST) for side in (base, row))
    first = [shown_value(run, side, latency.TTFT) for side in (base, row)]
    if share is None or start is None or end is None or not first[0] or first[1] is None:
        return None
    hours = [cost.hourly_usd(arm_of(record, side), record) for side in (base, row)]
    at_old_price = end if hours[0] == hours[1] else end * hours[0] / hours[1]
    prompt = start * share * (first[1] / first[0] - 1)
    steps = [shown_value(run, side, latency.TPOT) or 0.0 for side in (base, row)]
    further = start * (1 - share) * (steps[1] / steps[0] - 1) if steps[0] else 0.0
    return [
        Part("prompt", prompt, _change(run, base, row, latency.TTFT)),
        Part("further tokens", further, _change(run, base, row, latency.TPOT)),
        Part("rest", at_old_price - start - prompt - further, REST),
        Part("price", end - at_old_price, f"{hours[0]:.4g} → {hours[1]:.4g} USD an hour of work"),
    ]


def bound_words(row: Row) -> str:
    """Say what limits a row, by the shares of the machine's ceilings that it reaches.

    A step in which the GPU waits for launches is bound by the processor, however much it reads. Any other
    step that reads most of what memory can deliver is bound by memory. Packed weights are unpacked by
    separate kernels, so their stored bytes do not show whether memory is the limit. The text is empty if no
    shares are known.
    """
    read, multiplied = value_of(row.figure(roofline.MBU)), value_of(row.figure(roofline.MFU))
    launched = launch_words(row)
    if read is None or multiplied is None:
        return launched
    binding = ", so memory binds" if binds(row) == "memory" else ""
    above = f"; {words}" if (words := limit_words(row)) else ""
    stored = " (all stored weights, the table of embeddings too)" if packed(row) else ""
    first = f"{launched}; " if launched else ""
    return (
        f"{first}a step reads {read:.0%} of what memory delivers here{stored}{binding}; reading the prompt "
        f"multiplies at {multiplied:.0%} of the rate of large matrices{above}"
    )


def launch_words(row: Row) -> str:
    """Say that the processor limits a step on a GPU, and what to do about it; empty if it does not."""
    share, launches = value_of(row.figure(device.SHARE)), value_of(row.figure(device.LAUNCHES))
    if share is None or share >= BUSY_ENOUGH:
        return ""
    compiled = any(step.startswith("compile") for step in row.optimisations)
    what = "use a serving engine" if compiled else "compile it or use a serving engine"
    calls = f" in {launches:,.0f} launches" if launches else ""
    return f"bound by the processor: the GPU works {share:.0%} of a step{calls}; {what}"


def binds(row: Row) -> str:
    """Return what limits a row's steps: ``processor``, ``memory``, or ``""`` for anything else.

    ``processor`` means that the GPU waits for launches.
    """
    if launch_words(row):
        return "processor"
    read = value_of(row.figure(roofline.MBU))
    return "memory" if read is not None and read >= MEMORY_BINDS and not packed(row) else ""


def limit_words(row: Row) -> str:
    """Explain shares of the ceilings that are above 1; the text is empty if there are none."""
    read, multiplied = value_of(row.figure(roofline.MBU)), value_of(row.figure(roofline.MFU))
    above = ["above 100 % the caches delivered a part"] if read is not None and read > 1 else []
    if multiplied is not None and multiplied > 1:
        above.append("above 100 % the kernel multiplies in a cheaper type than the matrices of the ceiling")
    return "; ".join(above)


def packed(row: Row) -> bool:
    """Return whether some of a row's weights are stored in another type than a float."""
    return row.evidence is not None and any("float" not in dtype for dtype in row.evidence.bytes_by_dtype)


def _split(record: RunRecord, row: Row) -> float | None:
    """Return the share of prefill in the time of prefill and decode, or None if they were not timed."""
    sums = totals(arm_of(record, row))
    if sums is None or sums.prefill_s is None or not sums.decode_s:
        return None
    return sums.prefill_s / (sums.prefill_s + sums.decode_s)


def _change(run: RunSummary, base: Row, row: Row, metric: Metric) -> str:
    before, after = shown_value(run, base, metric), shown_value(run, row, metric)
    if before is None or after is None:
        return ""
    return f"{metric.description} {before:.3g} → {after:.3g} {metric.unit}"
