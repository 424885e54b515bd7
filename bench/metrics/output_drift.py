"""Compute how far a row's output distribution is from the baseline's, on the evaluation text."""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift import kl_and_perplexity as drift
from bench.drift import moments
from bench.drift.noise_floor import floors
from bench.errors import Outcome
from bench.records import ArmRecord, DriftWindow, RunRecord
from bench.stats.clustered import quantile_intervals
from bench.stats.figure import SHARE, Figure, Figures, Metric

_OVER = "over the scored positions; interval by bootstrap over windows"
KLD = Metric("kld_mean", "nat", "lower", f"mean Σ_v P(v)·(ln P(v) − ln Q(v)) {_OVER}", "KL(base ‖ variant)")
KLD_P99 = Metric(
    "kld_p99",
    "nat",
    "lower",
    "99th percentile of KL over the scored positions",
    "KL that 1 % of the positions exceed",
)
KLD_MAX = Metric(
    "kld_max", "nat", "lower", "largest KL over the scored positions", "KL at the worst position"
)
TOP1 = Metric(
    "top1_agreement", "1", "higher", f"mean [argmax P = argmax Q] {_OVER}", "same next token", range=SHARE
)
PPL = Metric(
    "ppl", "1", "lower", "exp(−mean ln Q(x_t)), windows scored from their second token", "perplexity"
)
PPL_RATIO = Metric(
    "ppl_ratio", "1", "lower", "exp(mean(ln P(x_t) − ln Q(x_t)))", "perplexity ÷ the baseline's"
)
RMS = Metric(
    "rms_delta_p", "1", "lower", "√ mean (Q(x_t) − P(x_t))²", "change of the true token's probability"
)
PLACE = 8
METRICS = (KLD, KLD_P99, KLD_MAX, TOP1, PPL, PPL_RATIO, RMS)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the drift, with notes about the scored text. A baseline has only a perplexity."""
    result: Figures = {metric.key: None for metric in METRICS}
    if arm.is_baseline:
        windows = _baselines_windows(arm, run)
        return result | {PPL.key: _perplexity([window.ln_p_base for window in windows], run)}
    if not arm.drift:
        return result
    windows, notes = arm.drift, scored_on(arm.drift, run)
    kld, same = [window.kld for window in windows], [window.same_top for window in windows]
    base, means = run.baseline_of(arm), drift.window_means
    floor = {"noise_floor": drift.kl_floor(base), "floors": floors(base, run)}
    (p99,) = quantile_intervals(kld, [0.99])
    return {
        KLD.key: KLD.scalar(
            drift.mean_kl(windows), **floor, se=moments.error_of_mean(kld), window_means=means(kld), **notes
        ),
        KLD_P99.key: KLD_P99.scalar(p99, **notes),
        KLD_MAX.key: KLD_MAX.scalar(drift.kl_quantile(windows, 1.0), **notes),
        TOP1.key: TOP1.scalar(
            drift.top1_agreement(windows), se=moments.error_of_share(same), window_means=means(same), **notes
        ),
        PPL.key: _perplexity([window.ln_p_variant for window in windows], run),
        PPL_RATIO.key: PPL_RATIO.scalar(
            drift.perplexity_ratio(windows), window_means=means(drift.ln_p_lost(windows)), **notes
        ),
        RMS.key: RMS.scalar(
            drift.rms_delta_p(windows), se=moments.error_of_rms(moments.delta_p(windows)), **notes
        ),
    }


def above_floor(figure: Figure) -> bool:
    """Return whether a mean KL is above all noise floors, the KL of the baseline against itself."""
    measured = [figure.notes.get("noise_floor"), *(figure.notes.get("floors") or {}).values()]
    return figure.value > max(1e-9, *(floor or 0.0 for floor in measured))


def _baselines_windows(base: ArmRecord, run: RunRecord) -> Sequence[DriftWindow]:
    """Return the windows on which the variants were scored, so that all perplexities use the same text.

    If no variant was scored, return the windows of the noise floor, each once.
    """
    scored = [arm.drift for arm in run.arms if arm.group == base.group and not arm.is_baseline]
    return max(scored, key=len, default=()) or tuple(dict.fromkeys(base.floor))


def _perplexity(ln_p: Sequence[Sequence[float]], run: RunRecord) -> Figure | None:
    """Return the perplexity, with the mean −ln p of each window (nats per token); None without windows."""
    if not ln_p:
        return None
    losses = [[-value for value in window] for window in ln_p]
    return PPL.scalar(drift.perplexity(ln_p), window_means=drift.window_means(losses), **_notes(ln_p, run))


def scored_on(windows: Sequence[DriftWindow], run: RunRecord) -> dict[str, object]:
    """Return the notes of a figure over these windows: their number and size, and the text."""
    return _notes([window.kld for window in windows], run)


def _notes(values: Sequence[Sequence[float]], run: RunRecord) -> dict[str, object]:
    """Return the numbers of positions and windows, tokens per window, the text, and the tokens asked for."""
    settings = run.spec.get("drift", {})
    return {
        "n": sum(map(len, values)),
        "windows": len(values),
        "window": settings.get("window"),
        "text": run.text.get("name"),
        "asked": settings.get("tokens"),
    }


def shortfall(run: RunRecord) -> str | None:
    """Return a warning if the text has fewer tokens than the config asks for; None if it has enough."""
    asked, window = (run.spec.get("drift", {}).get(key) for key in ("tokens", "window"))
    scored = [arm.drift for arm in run.arms if arm.drift and arm.status == Outcome.OK]
    if not scored or not asked or not window:
        return None
    most = max(scored, key=len)
    if len(most) >= max(asked // window, 1):
        return None
    return f"drift: {scored_words(sum(len(window.kld) for window in most), asked)}"


def scored_words(n: int, asked: int) -> str:
    """Return a phrase for all reports: the text had fewer tokens than the config asks for."""
    return f"{n:,} of the {asked:,} tokens asked for were scored: the text has no more"
