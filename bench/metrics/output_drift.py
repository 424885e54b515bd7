"""Distribution drift against the baseline on the evaluation text."""

from __future__ import annotations

from bench.drift import distribution as drift
from bench.metrics.figure import Figures, Metric
from bench.records import ArmRecord, RunRecord

_OVER = "over the scored positions; interval by bootstrap over windows"
KLD = Metric("kld_mean", "nat", "lower", f"mean Σ_v P(v)·(ln P(v) − ln Q(v)) {_OVER}", "KL(base ‖ variant)")
KLD_P99 = Metric("kld_p99", "nat", "lower", "99th percentile of KL over the scored positions", "tail")
KLD_MAX = Metric("kld_max", "nat", "lower", "largest KL over the scored positions", "worst token")
TOP1 = Metric("top1_agreement", "1", "higher", f"mean [argmax P = argmax Q] {_OVER}", "same next token")
PPL = Metric(
    "ppl", "1", "lower", "exp(−mean ln Q(x_t)), windows scored from their second token", "perplexity"
)
PPL_RATIO = Metric(
    "ppl_ratio", "1", "lower", "exp(mean(ln P(x_t) − ln Q(x_t)))", "perplexity over baseline's"
)
RMS = Metric(
    "rms_delta_p", "1", "lower", "√ mean (Q(x_t) − P(x_t))²", "change of the true token's probability"
)
METRICS = (KLD, KLD_P99, KLD_MAX, TOP1, PPL, PPL_RATIO, RMS)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """The baseline has a perplexity and no drift; its log-probabilities stand in any variant's windows."""
    found: Figures = {metric.key: None for metric in METRICS}
    if arm.is_baseline:
        seen = arm.floor or next((o.drift for o in run.arms if o.drift and o.group == arm.group), ())
        if seen:
            found[PPL.key] = PPL.scalar(drift.perplexity([window.ln_p_base for window in seen]))
        return found
    if not arm.drift:
        return found
    windows = arm.drift
    floor = drift.kl_floor(run.baseline_of(arm))
    return {
        KLD.key: KLD.scalar(drift.mean_kl(windows), noise_floor=floor),
        KLD_P99.key: KLD_P99.scalar(drift.kl_quantile(windows, 0.99)),
        KLD_MAX.key: KLD_MAX.scalar(drift.kl_quantile(windows, 1.0)),
        TOP1.key: TOP1.scalar(drift.top1_agreement(windows)),
        PPL.key: PPL.scalar(drift.perplexity([window.ln_p_variant for window in windows])),
        PPL_RATIO.key: PPL_RATIO.scalar(drift.perplexity_ratio(windows)),
        RMS.key: RMS.scalar(drift.rms_delta_p(windows)),
    }
