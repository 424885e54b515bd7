"""Compute how close a row comes to the ceilings of this machine, which explains why it is "not cheaper here".

A mixture reads and multiplies only the experts that work on the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.metrics import parameters
from bench.metrics.throughput import totals
from bench.records import ArmRecord, RunRecord
from bench.records.devices_used import devices_used
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
    """Return the shares of the ceilings. A share can be above 1 if caches served part of the reads.

    A row that speculates has no share of the bandwidth: it writes several tokens per reading of its weights,
    and its drafting model reads other weights.
    """
    used = _used(arm, run)
    if used is None:
        return {MBU.key: None, MFU.key: None}
    mbu = used.read_bytes * used.steps / used.decode_s / used.bytes_per_s
    mfu = used.flop / used.prefill_s / used.flop_per_s
    return {MBU.key: MBU.scalar(None if arm.speculated else mbu), MFU.key: MFU.scalar(mfu)}


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of both shares."""
    used = _used(arm, run)
    if used is None:
        return {}
    arithmetic = {MFU.key: f"{used.flop:.6g} / {used.prefill_s:.6g} / {used.flop_per_s:.6g}"}
    if not arm.speculated:
        read = f"{used.read_bytes:.6g} * {used.steps}"
        arithmetic[MBU.key] = f"{read} / {used.decode_s:.6g} / {used.bytes_per_s:.6g}"
    return arithmetic


@dataclass(frozen=True)
class _Used:
    """Hold what a row read and multiplied, the time that it took, and the ceilings of the machine."""

    read_bytes: float
    steps: int
    decode_s: float
    bytes_per_s: float
    flop: float
    prefill_s: float
    flop_per_s: float


def _used(arm: ArmRecord, run: RunRecord) -> _Used | None:
    base, sums = run.baseline_of(arm), totals(arm)
    if base is None or base.ceilings is None or arm.loaded is None or sums is None or not sums.decode_s:
        return None
    sequences = max((len(batch.tokens) for batch in arm.solo), default=1)
    devices = devices_used(arm.runtime)  # the ceilings are those of one
    context = (sums.input_tokens + sums.output_tokens / 2) / len(arm.solo)
    return _Used(
        read_bytes=parameters.read_bytes(arm.loaded, sequences) + context * _bytes_a_token(arm),
        steps=sum(len(batch.stamps_ns) - 1 for batch in arm.solo),
        decode_s=sums.decode_s,
        bytes_per_s=base.ceilings["memory_bytes_per_s"] * devices,
        flop=2 * parameters.active(arm, base.loaded) * sums.input_tokens,
        prefill_s=sums.prefill_s or math.inf,
        flop_per_s=base.ceilings["matmul_flop_per_s"] * devices,
    )


def _bytes_a_token(arm: ArmRecord) -> float:
    """Return the bytes of keys and values that a step reads for each token before it.

    They are those that the first batch held, so that windows and packed caches count as they are at the
    length of this workload. Without them they are the bytes that one more token adds.
    """
    first, held = arm.solo[0], None if arm.memory is None else arm.memory.cache
    tokens = sum(first.input_tokens) + sum(len(reply) - 1 for reply in first.tokens)  # the last is not read
    if held is None or tokens <= 0:
        return float(arm.loaded.facts.kv_bytes_per_token or 0) if arm.loaded else 0.0
    return held / tokens
