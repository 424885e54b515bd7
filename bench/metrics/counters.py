"""Count the work of a request, which is the same in every run on every machine; ``bench gate`` does so."""

from __future__ import annotations

from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

IN = Metric("input_tokens_per_request", "tok", "lower", "Σ n_in/N, first batch", "length of a prompt")
OUT = Metric("output_tokens_per_request", "tok", "lower", "Σ n_out/N, first batch", "length of a reply")
CALLS = Metric(
    "forward_calls_per_batch",
    "1",
    "lower",
    "calls of the whole model for one batch",
    "passes of the model per batch",
)
FLOPS = Metric(
    "flops_per_request", "FLOP", "lower", "torch's flop counter over one batch/N", "arithmetic of a request"
)
CACHE = Metric(
    "kv_cache_bytes", "B", "lower", "Σ bytes of keys and values after one batch", "KV cache after a batch"
)
PLACE = 7
METRICS = (IN, OUT, CALLS, FLOPS, CACHE)


def figures(arm: ArmRecord, _run: RunRecord) -> Figures:
    """Return the counts; None for what was not counted, or what this engine cannot count. The KV cache of a
    batch is read in the pass for memory too."""
    counted = arm.counters
    if counted is None:
        held = None if arm.memory is None else arm.memory.cache
        return {**{metric.key: None for metric in METRICS}, CACHE.key: CACHE.scalar(held)}
    requests = counted.requests
    per_request = {
        IN: counted.input_tokens,
        OUT: counted.output_tokens,
        FLOPS: counted.flops,
    }
    per_request_figures = {
        metric.key: metric.scalar(None if total is None else total / requests)
        for metric, total in per_request.items()
    }
    return {
        **per_request_figures,
        CALLS.key: CALLS.scalar(counted.forward_calls),
        CACHE.key: CACHE.scalar(counted.kv_cache_bytes),
    }
