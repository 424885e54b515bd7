"""Compute the statistics of single positions that llama.cpp's ``llama-perplexity --kl-divergence`` prints.

Its standard errors assume that positions are independent, which they are not. So these errors are given in
addition to the intervals over windows, and never instead of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from bench.drift.kl_and_perplexity import MOST_PERPLEXITY
from bench.records import DriftWindow
from bench.stats.clustered import covariance, mean_error

Windows = Sequence[DriftWindow]


def delta_p(windows: Windows) -> list[list[float]]:
    """Return Q(x) − P(x) of the true next token x at each position (P: baseline, Q: variant)."""
    return [
        [math.exp(q) - math.exp(p) for p, q in zip(w.ln_p_base, w.ln_p_variant, strict=True)] for w in windows
    ]


def error_of_mean(windows: Sequence[Sequence[float]]) -> float | None:
    """Return the standard error of the mean over all positions, as if they were independent."""
    return mean_error(list(chain.from_iterable(windows)))


def error_of_rms(changes: Sequence[Sequence[float]]) -> float | None:
    """Return SE(Δp²)/(2·RMS), the standard error of a root mean square; None if the RMS is 0."""
    squares = [change * change for window in changes for change in window]
    error, mean = mean_error(squares), math.fsum(squares) / len(squares)
    return None if error is None or mean == 0 else error / (2 * math.sqrt(mean))


def error_of_share(windows: Sequence[Sequence[float]]) -> float | None:
    """Return √(p(1 − p)/(N − 1)), the standard error of a share of positions."""
    n = sum(map(len, windows))
    share = math.fsum(chain.from_iterable(windows)) / n
    return None if n < 2 else math.sqrt(max(share * (1 - share), 0.0) / (n - 1))


@dataclass(frozen=True)
class Perplexities:
    """Compare both perplexities on the same positions.

    ``ln_ratio`` is ln(PPL(variant)/PPL(base)), and ``change`` is PPL(variant) − PPL(base). Each ``_error`` is
    a standard error that uses the pairing, ``√(σ_Q² + σ_P² − 2·cov)``. ``correlation`` is cov/(σ_Q·σ_P); None
    if one of the two sides does not vary.
    """

    base: float
    variant: float
    ln_ratio: float
    ln_ratio_error: float
    change: float
    change_error: float
    correlation: float | None


def perplexities(windows: Windows) -> Perplexities | None:
    """Return both perplexities with paired errors; None for fewer than two positions, and if one is above
    10^15."""
    base = [-value for w in windows for value in w.ln_p_base]
    variant = [-value for w in windows for value in w.ln_p_variant]
    cov, sigma_p, sigma_q = covariance(base, variant), mean_error(base), mean_error(variant)
    if cov is None or sigma_p is None or sigma_q is None:
        return None
    mean_p, mean_q = math.fsum(base) / len(base), math.fsum(variant) / len(variant)
    if max(mean_p, mean_q) > math.log(MOST_PERPLEXITY):
        return None
    ppl_p, ppl_q = math.exp(mean_p), math.exp(mean_q)
    of_ratio = sigma_q**2 + sigma_p**2 - 2 * cov
    of_change = (ppl_q * sigma_q) ** 2 + (ppl_p * sigma_p) ** 2 - 2 * ppl_q * ppl_p * cov
    return Perplexities(
        base=ppl_p,
        variant=ppl_q,
        ln_ratio=mean_q - mean_p,
        ln_ratio_error=math.sqrt(max(of_ratio, 0.0)),
        change=ppl_q - ppl_p,
        change_error=math.sqrt(max(of_change, 0.0)),
        correlation=cov / (sigma_p * sigma_q) if sigma_p * sigma_q > 0 else None,
    )
