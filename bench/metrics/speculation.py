"""Compute the share of drafted tokens that speculative decoding kept, and its predicted speed-up."""

from __future__ import annotations

from bench.records import ArmRecord, RunRecord, Speculated
from bench.stats.figure import SHARE, Figure, Figures, Metric

RATE = Metric(
    "acceptance_rate",
    "1",
    "higher",
    "tokens kept ÷ tokens drafted",
    "share of drafted tokens that were kept",
    range=SHARE,
)
LENGTH = Metric(
    "acceptance_length",
    "tok",
    "higher",
    "1 + tokens kept ÷ passes of the model",
    "tokens per pass of the model",
)
SPEEDUP = Metric(
    "speculation_speedup",
    "1",
    "higher",
    "(1 − α^(γ+1)) ÷ (1 − α) ÷ (γ·c + v), α the chance of a drafted token (i.i.d.), γ tokens of a draft, "
    "c a drafted token and v a verifying pass, both in steps of the baseline",
    "speed-up of decoding that Leviathan et al. (arXiv 2211.17192) predict; v is 1 in their paper",
)
PLACE = 5
METRICS = (RATE, LENGTH, SPEEDUP)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the solo pass; None for a row that does not speculate."""
    result: Figures = {metric.key: None for metric in METRICS}
    done = arm.speculated
    if done is None or not done.passes:
        return result
    counts = {"passes": done.passes, "drafted": done.drafted, "accepted": done.accepted}
    result[LENGTH.key] = LENGTH.scalar(1 + done.accepted / done.passes, **counts)
    if done.drafted:
        result[RATE.key] = RATE.scalar(done.accepted / done.drafted, **counts)
        result[SPEEDUP.key] = _speedup(done, _step_ns(run.baseline_of(arm)))
    return result


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of what was kept, and of the predicted speed-up."""
    done, found = arm.speculated, figures(arm, run)
    if done is None or not done.passes:
        return {}
    lines = {LENGTH.key: f"1 + {done.accepted} / {done.passes}"}
    if found[RATE.key] is not None:
        lines[RATE.key] = f"{done.accepted} / {done.drafted}"
    if (speedup := found[SPEEDUP.key]) is not None:
        alpha, gamma, draft, verify = (
            f"{speedup.notes[name]:.9g}" for name in ("alpha", "gamma", "draft_cost", "verify_cost")
        )
        all_kept = speedup.notes["alpha"] >= 1
        tokens = f"(1 + {gamma})" if all_kept else f"(1 - {alpha} ** ({gamma} + 1)) / (1 - {alpha})"
        lines[SPEEDUP.key] = f"{tokens} / ({gamma} * {draft} + {verify})"
    return lines


def _step_ns(base: ArmRecord | None) -> float | None:
    """Return the mean time (ns) of a decode step in the baseline's solo pass."""
    batches = base.solo if base is not None else ()
    steps = sum(len(batch.stamps_ns) - 1 for batch in batches)
    return sum(batch.stamps_ns[-1] - batch.stamps_ns[0] for batch in batches) / steps if steps else None


def _speedup(done: Speculated, step_ns: float | None) -> Figure | None:
    if not step_ns:
        return None
    gamma = done.drafted / done.passes
    alpha = chance(done.accepted / done.passes, gamma)
    cost, verify = done.drafting_ns / done.drafted / step_ns, done.verifying_ns / done.passes / step_ns
    tokens = 1 + gamma if alpha >= 1 else (1 - alpha ** (gamma + 1)) / (1 - alpha)
    return SPEEDUP.scalar(
        tokens / (gamma * cost + verify), alpha=alpha, gamma=gamma, draft_cost=cost, verify_cost=verify
    )


def chance(kept: float, gamma: float) -> float:
    """Return α, the chance that a drafted token is right, from the mean number of tokens kept per pass.

    If the chances are equal and independent, this mean is α·(1 − α^γ) ÷ (1 − α). It grows with α and is
    inverted by bisection.
    """
    if kept >= gamma:
        return 1.0
    if kept <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        alpha = (low + high) / 2
        mean = alpha * (1 - alpha**gamma) / (1 - alpha)
        low, high = (alpha, high) if mean < kept else (low, alpha)
    return (low + high) / 2
