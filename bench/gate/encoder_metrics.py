"""List the metrics that only an encoder has, and those that an encoder cannot have."""

from __future__ import annotations

from functools import cache

from bench import plugins
from bench.metrics import drift_keys, encoded, latency, throughput

# Metrics of single tokens and of phases, which neither an encoder nor a cascade has.
OF_TOKENS = (latency.TTFT, latency.TPOT, latency.ITL)
OF_PHASES = (throughput.OUTPUT, throughput.PREFILL, throughput.DECODE)


def of_encoders(task: str | None, *, labelled: bool = False) -> frozenset[str]:
    """Return the drift metrics of an encoder for a task; ``labelled`` says whether right labels are known."""
    known = encoded.OF_CLASSIFIERS if labelled else (encoded.FLIPS,)
    by_task = {"embedding": encoded.OF_EMBEDDINGS, "classification": known}
    return frozenset(metric.key for metric in by_task.get(str(task), ()))


@cache
def not_of_encoders() -> frozenset[str]:
    """Return the metrics of generated text, which an encoder cannot have: drift, suites, times of tokens."""
    of_tokens = drift_keys() - {metric.key for metric in encoded.METRICS}
    suites = {metric.key for _name, suite in plugins.each("drift.suites") for metric in suite.METRICS}
    return of_tokens | suites | {metric.key for metric in (*OF_TOKENS, *OF_PHASES)}
