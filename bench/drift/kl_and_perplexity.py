"""Compute statistics of two models that read the same text (the statistics are those of llama.cpp).

The input is one DriftWindow per window of text. Every interval is a bootstrap over windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.records import ArmRecord, DriftWindow
from bench.stats.intervals import Interval, bootstrap_interval, quantile

Windows = Sequence[DriftWindow]
# A broken model predicts nothing, and its perplexity has no use long before it is no number any more. What is
# made from it, by up to a million nats, must still be one that a run keeps.
MOST_PERPLEXITY = 1e15


def window_starts(length: int, window: int, tokens: int) -> list[int]:
    """Return the index of the first token of each window in a text of ``length`` tokens.

    As many whole windows as fit into ``tokens``, but at least one, are spread evenly over the text without
    overlap. There is none if the text is shorter than one window.
    """
    count = min(max(tokens // window, 1), length // window)
    return [round(i * (length - window) / max(count - 1, 1)) for i in range(count)]


def window_means(values: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of each window, to nine digits; ``run.json`` keeps them to compare two runs."""
    return [float(f"{math.fsum(window) / len(window):.9g}") for window in values]


def mean_kl(windows: Windows) -> Interval:
    """Return the mean KL(base ‖ variant) in nats."""
    return bootstrap_interval([window.kld for window in windows])


def kl_quantile(windows: Windows, q: float) -> float:
    """Return a quantile of KL over all scored positions, in nats; q = 1 is the largest."""
    return quantile(sorted(value for window in windows for value in window.kld), q)


def top1_agreement(windows: Windows) -> Interval:
    """Return the share of positions at which both models rank the same token first."""
    return bootstrap_interval([window.same_top for window in windows])


def perplexity(ln_p: Sequence[Sequence[float]]) -> Interval | None:
    """Return exp(−mean ln p) of the true next tokens; None if it, or a bound of it, is above 10^15."""
    return _exponential(ln_p, -1.0)


def _exponential(values: Sequence[Sequence[float]], sign: float) -> Interval | None:
    """Return exp(sign · mean); None for more than ``MOST_PERPLEXITY``."""
    most = math.log(MOST_PERPLEXITY)

    def exponential(mean: float) -> float:
        if sign * mean > most:
            raise OverflowError
        return math.exp(sign * mean)

    try:
        return bootstrap_interval(values, exponential)
    except OverflowError:
        return None


def ln_p_lost(windows: Windows) -> list[list[float]]:
    """Return ln P − ln Q of the true next token at each position (P: baseline, Q: variant)."""
    return [[p - q for p, q in zip(w.ln_p_base, w.ln_p_variant, strict=True)] for w in windows]


def perplexity_ratio(windows: Windows) -> Interval | None:
    """Return exp of the paired mean difference of log-probabilities: PPL(variant)/PPL(base). None if it, or a
    bound of it, is above 10^15."""
    return _exponential(ln_p_lost(windows), 1.0)


def rms_delta_p(windows: Windows) -> Interval:
    """Return the root mean square change of the probability given to the true next token."""
    squares = [
        [(math.exp(q) - math.exp(p)) ** 2 for p, q in zip(w.ln_p_base, w.ln_p_variant, strict=True)]
        for w in windows
    ]
    return bootstrap_interval(squares, math.sqrt)


def kl_floor(baseline: ArmRecord | None) -> float | None:
    """Return the mean KL of the baseline against itself with other kernel shapes; a smaller KL is noise."""
    if baseline is None or not baseline.floor:
        return None
    return mean_kl(baseline.floor).value
