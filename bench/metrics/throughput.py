"""Compute the throughput of the solo pass, which is always a ratio of sums."""

from __future__ import annotations

from dataclasses import dataclass

from bench.metrics import processes
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric
from bench.stats.intervals import Interval, positive_mean, widened
from bench.stats.plain_sum import plain_sum

REQUESTS = Metric(
    "request_throughput", "req/s", "higher", "N_ok/W, W = last end − first sent", "requests per second"
)
OUTPUT = Metric("output_throughput", "tok/s", "higher", "Σ n_out/W", "output tokens per second")
TOTAL = Metric(
    "total_token_throughput", "tok/s", "higher", "Σ(n_in + n_out)/W", "input and output tokens per second"
)
PREFILL = Metric(
    "prefill_throughput", "tok/s", "higher", "Σ n_in/Σ(t_first − sent)", "input tokens per second, in prefill"
)
DECODE = Metric(
    "decode_throughput",
    "tok/s",
    "higher",
    "Σ(n_out − 1)/Σ(t_last − t_first)",
    "output tokens per second, in decode",
)
PLACE = 2
METRICS = (REQUESTS, OUTPUT, TOTAL, PREFILL, DECODE)


@dataclass(frozen=True)
class Totals:
    """Hold sums over the solo pass: its duration W, the time of each phase, requests, and tokens in and out.

    The phases are None if answers came all at once.
    """

    wall_s: float
    prefill_s: float | None
    decode_s: float | None
    requests: int
    input_tokens: int
    output_tokens: int


def totals(arm: ArmRecord) -> Totals | None:
    """Return the sums from which all throughputs and costs are computed; None without a solo pass."""
    if not arm.solo:
        return None
    whole = any(b.whole for b in arm.solo)
    return Totals(
        wall_s=(max(b.end_ns for b in arm.solo) - min(b.sent_ns for b in arm.solo)) / 1e9,
        prefill_s=None if whole else plain_sum(b.prefill_s for b in arm.solo),
        decode_s=None if whole else plain_sum(b.decode_s for b in arm.solo),
        requests=sum(b.requests for b in arm.solo),
        input_tokens=sum(sum(b.input_tokens) for b in arm.solo),
        output_tokens=sum(len(tokens) for b in arm.solo for tokens in b.tokens),
    )


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the throughputs. Each phase divides by its own time; decode leaves out the first tokens.

    An encoder writes no token, so it has no output throughput.
    """
    sums = totals(arm)
    if sums is None:
        return {metric.key: None for metric in METRICS}
    whole, between = processes.mean_time(arm, run), processes.half_width(arm, run)
    first, steps = (
        widened(positive_mean(seconds), between)
        for seconds in (
            [batch.prefill_s for batch in arm.solo],
            [batch.decode_s for batch in arm.solo],
        )
    )
    total = sums.input_tokens + sums.output_tokens
    return {
        REQUESTS.key: REQUESTS.scalar(rate(sums.requests, sums.wall_s, whole)),
        OUTPUT.key: OUTPUT.scalar(
            rate(sums.output_tokens, sums.wall_s, whole) if sums.output_tokens else None
        ),
        TOTAL.key: TOTAL.scalar(rate(total, sums.wall_s, whole)),
        PREFILL.key: PREFILL.scalar(rate(sums.input_tokens, sums.prefill_s, first)),
        DECODE.key: DECODE.scalar(rate(sums.output_tokens - sums.requests, sums.decode_s, steps)),
    }


def worked(arm: ArmRecord, _run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of each throughput."""
    sums = totals(arm)
    if sums is None:
        return {}
    n_in, n_out, wall_s = sums.input_tokens, sums.output_tokens, f"{sums.wall_s:.6g}"
    arithmetic = {
        REQUESTS.key: f"{sums.requests} / {wall_s}",
        TOTAL.key: f"({n_in} + {n_out}) / {wall_s}",
    }
    if n_out:
        arithmetic[OUTPUT.key] = f"{n_out} / {wall_s}"
    if sums.prefill_s is not None and sums.decode_s:
        arithmetic[PREFILL.key] = f"{n_in} / {sums.prefill_s:.6g}"
        arithmetic[DECODE.key] = f"({n_out} - {sums.requests}) / {sums.decode_s:.6g}"
    return arithmetic


def rate(count: float, seconds: float | None, spread: Interval) -> Interval | None:
    """Return ``count`` ÷ ``seconds`` with the relative interval of the mean time; None without a time."""
    if seconds is None:
        return None
    value = count / seconds
    if not spread.low or not spread.high:
        return Interval(value, None, None)
    return Interval(value, value * spread.value / spread.high, value * spread.value / spread.low)
