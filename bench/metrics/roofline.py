"""How close a row comes to this machine's own ceilings, which explains why it is "not cheaper here"."""

from __future__ import annotations

import math

from bench.metrics.throughput import totals
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

MBU = Metric(
    "mbu",
    "1",
    "higher",
    "(weights + KV read a step) ÷ step time ÷ memory bandwidth measured here",
    "bandwidth used",
)
MFU = Metric(
    "mfu", "1", "higher", "2 · parameters · n_in ÷ prefill time ÷ matmul rate measured here", "compute used"
)
PLACE = 12
METRICS = (MBU, MFU)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the shares of the ceilings. A share above 1 is kept: the caches served part of it."""
    base, sums = run.baseline_of(arm), totals(arm)
    if base is None or base.ceilings is None or arm.loaded is None or sums is None or not sums.decode_s:
        return {MBU.key: None, MFU.key: None}
    steps = sum(len(batch.stamps_ns) - 1 for batch in arm.solo)
    context = (sums.input_tokens + sums.output_tokens / 2) / len(arm.solo)
    read = arm.loaded.weights_bytes + context * float(arm.loaded.facts.kv_bytes_per_token or 0)
    mbu = read * steps / sums.decode_s / base.ceilings["memory_bytes_per_s"]
    flop = 2 * arm.loaded.parameters * sums.input_tokens
    mfu = flop / (sums.prefill_s or math.inf) / base.ceilings["matmul_flop_per_s"]
    return {MBU.key: MBU.scalar(mbu), MFU.key: MFU.scalar(mfu)}
