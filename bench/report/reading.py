"""What a row says, in one sentence an engineer would say. The words come from the figures alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bench.formatting import format_share, format_significant, printable
from bench.metrics import cost, one_off, output_drift
from bench.metrics.figure import Metric, value_of
from bench.metrics.others import OTHERS_SHARE, others_in_turns
from bench.stats.pairs import FAMILY_ERROR

# Bands of mean KL (nats) against the baseline. They are our words, not a law: see docs/guide.md, "Reading".
BANDS = (
    (0.001, "indistinguishable"),
    (0.02, "close to the baseline"),
    (0.2, "noticeably different"),
    (float("inf"), "a different model"),
)

FRONT = "on the Pareto front: no other row is both cheaper and closer to the baseline"
WORTH_SAYING_S = 10.0
WORTH_SAYING_APART = 0.05


def timed_figure(
    run: Mapping[str, Any], variant: Mapping[str, Any], metric: Metric
) -> Mapping[str, Any] | None:
    """A figure of time or money as the table shows it: the baseline's times the ratio where both ran in turns
    (any two rows of a column then have the ratio of the table), else the row's own."""
    one = comparison_of(run, variant, metric.key)
    if one is None or one.get("value") is None or one["design"] == "solo":
        found: Mapping[str, Any] | None = variant["metrics"].get(metric.key)
        return found
    return {"value": one["value"], "ci_low": one["value_low"], "ci_high": one["value_high"]}


def comparison_of(
    run: Mapping[str, Any], variant: Mapping[str, Any], metric: str
) -> Mapping[str, Any] | None:
    """The comparison of one variant on one metric, if there is one."""
    for one in run["comparisons"]:
        if (one["variant"], one["group"], one["metric"]) == (variant["name"], variant["group"], metric):
            found: Mapping[str, Any] = one
            return found
    return None


def sentence(run: Mapping[str, Any], variant: Mapping[str, Any]) -> str:
    """One line a variant: cheaper or not, by how much, what it does to the output, and why not cheaper."""
    if variant["status"] != "ok":
        return _one_line(f"{variant['status']}: {variant['reason']}")
    if variant["is_baseline"]:
        return "the baseline"
    money = _money(comparison_of(run, variant, cost.PER_1K.key))
    parts = [money, drift_words(variant), once_words(variant)]
    if not money.endswith("cheaper"):
        parts.append(_why(variant))
    if (share := others_in_turns(variant)) > OTHERS_SHARE:
        parts.append(f"others had up to {share:.0%} of the processors meanwhile")
    return _one_line("; ".join(part for part in parts if part))


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _money(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "not compared"
    ratio = one["ratio"]
    if one["verdict"] == "better":
        return f"{1 / ratio:.1f} × cheaper" if ratio < 0.6 else f"{1 - ratio:.0%} cheaper"
    if one["verdict"] == "worse":
        return f"{ratio:.1f} × the cost" if ratio > 1.6 else f"{ratio - 1:.0%} dearer"
    if one["ci_low"] is None:
        return "too few requests to tell the cost apart"
    if one["ci_low"] < 0.9 or one["ci_high"] > 1.1:
        return f"cannot tell: between {one['ci_low']:.2f} and {one['ci_high']:.2f} times the cost"
    return "cost the same as far as this run can tell"


def band(variant: Mapping[str, Any]) -> str | None:
    """How far from the baseline, in a word or two; None where drift was not measured."""
    figure = variant["drift"].get(output_drift.KLD.key)
    kl = value_of(figure)
    if figure is None or kl is None:
        return None
    if not kl_above_floor(figure):
        return "not distinguishable from noise"
    return next((words for limit, words in BANDS if kl < limit), BANDS[-1][1])


def kl_above_floor(figure: Mapping[str, Any]) -> bool:
    """Whether a mean KL is more than the baseline shows against itself."""
    return bool(figure["value"] > max(figure.get("noise_floor") or 0.0, 1e-9))


def drift_words(variant: Mapping[str, Any]) -> str:
    """The band and the share of tokens on which both agree."""
    words, agreement = band(variant), value_of(variant["drift"].get(output_drift.TOP1.key))
    if words is None or agreement is None:
        return f"drift not measured: {variant['drift_reason']}" if variant.get("drift_reason") else ""
    return f"{words} (agrees on {format_share(agreement)} of tokens)"


def once_words(variant: Mapping[str, Any]) -> str:
    """What calibration or training cost, and when it is earned back; nothing for work of a few seconds."""
    spent = variant["metrics"].get(one_off.USD.key)
    if spent is None or spent["seconds"] < WORTH_SAYING_S:
        return ""
    requests = value_of(variant["metrics"].get(one_off.BREAK_EVEN.key))
    back = "not shown to be earned back"
    if requests is not None:
        back = f"earned back after {requests:,.0f} requests"
    return f"made once in {spent['seconds']:.0f} s for {format_significant(spent['value'])} USD, {back}"


def _why(variant: Mapping[str, Any]) -> str:
    """Where a decode step's time goes, from its profile, and what the scheme itself has to say."""
    steps = (variant["evidence"] or {}).get("steps", [])
    notes = [step["note"] for step in steps if step.get("note")]
    if notes:
        return str(notes[-1])
    kernels = (variant["evidence"] or {}).get("kernels", [])
    spent = ", ".join(f"{row['share']:.0%} {row['operator']}" for row in kernels[:2])
    return f"a step spends {spent}" if spent else ""


def timed_words(run: Mapping[str, Any]) -> str:
    """What the columns of time and money are, and how sure a verdict is."""
    pairs = [
        one["pairs"] for one in run["comparisons"] if one["metric"] == cost.PER_1K.key and one.get("pairs")
    ]
    if not pairs:
        return _apart_words(run)
    count = str(min(pairs)) if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    void = sum(variant.get("void_pairs", 0) for variant in run["variants"])
    left_out = f" ({void} more left out, while others used the machine)" if void else ""
    return (
        f"Each ratio comes from {count} fresh pairs of processes that take turns{left_out}; a variant's "
        "times, tokens per second and dollars are the baseline's, measured alone, times its ratio (~: no "
        f"turns, its own). better and worse: at most {FAMILY_ERROR:.0%} of tables without a difference say "
        "either."
    )


def _apart_words(run: Mapping[str, Any]) -> str:
    """For a run of earlier code: how far the dollars of rows measured alone are from the ratios."""
    alone = {
        (row["group"], row["name"]): value_of(row["metrics"].get(cost.PER_1K.key)) for row in run["variants"]
    }
    base = {row["group"]: alone[row["group"], row["name"]] for row in run["variants"] if row["is_baseline"]}
    apart = [0.0]
    for one in run["comparisons"]:
        ours, theirs = alone.get((one["group"], one["variant"])), base.get(one["group"])
        if one["metric"] == cost.PER_1K.key and one["design"] != "solo" and ours and theirs:
            apart.append(abs(math.log(ours / theirs / one["ratio"])))
    if max(apart) < WORTH_SAYING_APART:
        return ""
    return (
        "Other columns are of each row alone, one after the other, while this machine's speed moved: "
        f"their dollars' ratios are up to {math.expm1(max(apart)):.0%} off the cost ratio, measured in turns."
    )


def scored_words(run: Mapping[str, Any]) -> str:
    """What the drift figures were scored on; nothing for a run of earlier code, which did not keep it."""
    figures = (variant["drift"].get(output_drift.KLD.key) for variant in run["variants"])
    known = [figure for figure in figures if figure and figure.get("windows")]
    if not known:
        return ""
    most = max(known, key=lambda figure: int(figure["n"]))
    words = f"Drift is over {most['n']:,} tokens in {windows_words(most)}."
    short = most["asked"] and most["window"] and most["windows"] < most["asked"] // most["window"]
    return f"{words} {output_drift.scored_words(most['n'], most['asked'])}." if short else words


def windows_words(figure: Mapping[str, Any]) -> str:
    """``8 windows of 256 (mixed)``: what a drift figure is of."""
    return printable(f"{figure['windows']} windows of {figure['window']} ({figure['text']})")


def bounds_text(figure: Mapping[str, Any] | None, show: Callable[[float | None], str]) -> str:
    """A figure's 95 % interval, ``[0.019, 0.026]``; nothing where it has none."""
    if figure is None or figure.get("ci_low") is None or figure.get("ci_high") is None:
        return ""
    return f"[{show(figure['ci_low'])}, {show(figure['ci_high'])}]"


def interval_text(one: Mapping[str, Any] | None) -> str:
    """A ratio with its interval: ``0.66 [0.65, 0.68]``."""
    if one is None:
        return "-"
    if one["ci_low"] is None:
        return format_significant(one["ratio"])
    if one["ratio"] < 0.1:
        return " ".join(format_significant(one[key]) for key in ("ratio", "ci_low", "ci_high"))
    return f"{one['ratio']:.3f} [{one['ci_low']:.3f}, {one['ci_high']:.3f}]"
