"""What a change between two runs rests on: ratios of ratios, windows in pairs, and how quiet each run was."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from bench.config.settings import MeasureBlock
from bench.errors import IntegrityError
from bench.metrics import all_metrics
from bench.results import disturbance, run_comparison
from bench.results.changes import ALONE, ALONE_APART_SD, RATIO, RATIOS_APART_SD, WINDOWS
from bench.results.run_comparison import RowChange, render
from bench.results.run_summary import RunSummary
from bench.results.stored_gate import against_run
from bench.stats.intervals import Interval, ratio_interval

Json = dict[str, Any]
TIMES = ("e2el_ms", "ttft_ms", "tpot_ms", "cost_per_1k_tokens_usd", "cost_per_request_usd")
KL = (0.011, 0.02, 0.03, 0.014, 0.025, 0.04)


def scalar(key: str, value: float, half: float, **notes: object) -> Json:
    """A figure with ``half`` of its interval on the log scale, as it stands in ``run.json``."""
    bounds = Interval(value, value * math.exp(-half), value * math.exp(half))
    found = all_metrics()[key].scalar(bounds, **notes)
    assert found is not None
    return found.to_json()


def drift_figure(key: str, means: list[float], value: float | None = None) -> Json:
    mean = math.fsum(means) / len(means) if value is None else value
    on = {"n": 255 * len(means), "windows": len(means), "window": 256}
    return scalar(key, mean, 0.5, window_means=means, **on)


def row(name: str, ms: float, half: float = 0.02, means: tuple[float, ...] = KL) -> Json:
    drift: Json = {"ppl": drift_figure("ppl", [2 + kl for kl in means], 9.0)}
    if name != "baseline":
        drift["kld_mean"] = drift_figure("kld_mean", list(means))
        drift["top1_agreement"] = drift_figure("top1_agreement", [1 - kl for kl in means])
    return {
        "name": name, "group": "", "is_baseline": name == "baseline", "status": "ok", "reason": "",
        "model": {"location": "x", "weights_sha256": "ab"}, "runtime": {}, "workload": {}, "facts": None,
        "evidence": None,
        "optimisations": [], "noise": [], "metrics": {key: scalar(key, ms, half) for key in TIMES},
        "drift": drift,
    }  # fmt: skip


def ratio(value: float, half: float = 0.02, design: str = "duet") -> list[Json]:
    return [
        {
            "variant": "v", "against": "baseline", "group": "", "metric": key, "ratio": value,
            "ci_low": value * math.exp(-half), "ci_high": value * math.exp(half), "confidence": 0.95,
            "verdict": "cannot tell", "design": design,
        }
        for key in TIMES
    ]  # fmt: skip


def run(base_ms: float = 10.0, ms: float = 5.0, value: float = 0.5, **more: Any) -> Json:
    """A run as it stands in ``run.json``."""
    return {
        "schema_version": 1, "name": "demo", "finished_utc": "2026-01-31T12:30:00Z", "status": "ok",
        "reasons": [], "harness": {}, "spec_digest": "", "model": None,
        "run_id": "one", "started_utc": "2026-01-31T12:00:00Z", "machine": {}, "text": {"sha256": "01"},
        "spec": {"drift": {"tokens": 1536, "window": 256}}, "price": {},
        "variants": [row("baseline", base_ms), row("v", ms)], "comparisons": ratio(value), **more,
    }  # fmt: skip


def between_runs(before: Json, after: Json) -> list[RowChange]:
    return run_comparison.between_runs(RunSummary.from_json(before), RunSummary.from_json(after))


def heading(before: Json, after: Json) -> str:
    return run_comparison.heading(RunSummary.from_json(before), RunSummary.from_json(after))


def found(before: Json, after: Json, metric: str = "e2el_ms", variant: str = "v") -> RowChange:
    rows = between_runs(before, after)
    (one,) = [row for row in rows if (row.variant, row.metric) == (variant, metric)]
    return one


def disturb(one: Json, variant: int, *stages: tuple[str, float]) -> Json:
    """A copy in which others had these shares of the processors in these stages of a row."""
    other = copy.deepcopy(one)
    other["variants"][variant]["noise"] = [
        {"stage": stage, "steal_share": share / 2, "foreign_share": share / 2, "busy_share": 1.0}
        for stage, share in stages
    ]
    return other


# ---- a ratio of ratios -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", TIMES)
def test_a_machine_half_as_fast_changes_nothing_of_a_ratio(metric: str) -> None:
    one = found(run(), run(20.0, 10.0), metric)
    assert (one.before, one.after, one.ratio, one.basis) == (0.5, 0.5, 1.0, RATIO)
    assert one.verdict == "cannot tell"


def test_a_design_that_is_not_known_is_refused() -> None:
    with pytest.raises(IntegrityError, match="'pairs' is not a valid RatioDesign"):
        RunSummary.from_json(run(comparisons=ratio(0.5, design="pairs")))


def test_its_interval_is_the_quadrature_of_both_and_of_what_ratios_move_by() -> None:
    one = found(run(), run(value=0.6, comparisons=ratio(0.6, 0.03)))
    half = math.hypot(0.02, 0.03, 1.959964 * RATIOS_APART_SD)
    assert one.ratio == pytest.approx(1.2)
    assert one.ci_low == pytest.approx(1.2 * math.exp(-half))
    assert one.ci_high == pytest.approx(1.2 * math.exp(half))
    assert one.verdict == "worse"


def test_a_row_that_either_run_measured_apart_is_compared_alone() -> None:
    solo = run(comparisons=ratio(0.5, design="solo"))
    for pair in ((run(), solo), (solo, run()), (solo, solo), (run(), run(comparisons=[]))):
        one = found(*pair)
        assert (one.before, one.basis) == (5.0, ALONE)
        half = math.hypot(0.02, 0.02, 1.959964 * ALONE_APART_SD)
        assert one.ci_high == pytest.approx(math.exp(half))


def test_the_baseline_is_always_alone() -> None:
    one = found(run(), run(20.0), variant="baseline")
    assert (one.before, one.after, one.basis, one.verdict) == (10.0, 20.0, ALONE, "worse")


def test_too_few_pairs_on_one_side_cannot_tell() -> None:
    few = run(value=0.1)
    for ours in few["comparisons"]:
        ours |= {"ratio": 0.1, "ci_low": None, "ci_high": None}
    one = found(run(), few)
    assert one.ratio == pytest.approx(0.2)
    assert (one.ci_low, one.verdict) == (None, "cannot tell")


# ---- others at work --------------------------------------------------------------------------------


def test_the_share_that_disturbs_is_the_one_passes_are_repeated_for() -> None:
    assert MeasureBlock().max_disturbance == disturbance.OTHERS_SHARE


@pytest.mark.parametrize("disturbed", ["before", "after"])
def test_a_row_measured_alone_among_others_has_no_interval(disturbed: str) -> None:
    """The issue's A/A: 0.306 [0.269, 0.347], while others had the machine."""
    pair = {"before": run(run_id="first"), "after": run(3.06, run_id="second")}
    pair[disturbed] = disturb(pair[disturbed], 0, ("solo", 0.72))
    one = found(pair["before"], pair["after"], variant="baseline")
    assert one.ratio == pytest.approx(0.306)
    assert (one.ci_low, one.ci_high, one.verdict) == (None, None, "cannot tell")
    run_id = {"before": "first", "after": "second"}[disturbed]
    assert one.note == f"others had 72% of the processors while {run_id} measured this row alone"


def test_the_attempt_that_counts_is_the_last() -> None:
    quiet = disturb(run(3.06), 0, ("solo", 0.72), ("solo", 0.04), ("energy", 0.9))
    assert found(run(), quiet, variant="baseline").verdict == "better"
    loud = disturb(run(3.06), 0, ("solo", 0.04), ("solo", 0.06))
    assert found(run(), loud, variant="baseline").verdict == "cannot tell"


def test_a_ratio_keeps_its_interval_and_says_that_others_were_there() -> None:
    loud = disturb(run(value=0.7), 1, ("solo", 0.72), ("duet", 0.01), ("duet", 0.08), ("duet, void", 0.9))
    one = found(run(), loud)
    assert one.note == "others had up to 8% of the processors while one measured this ratio"
    assert (one.basis, one.verdict) == (RATIO, "worse")
    quiet = disturb(run(), 1, ("solo", 0.72), ("duet", 0.05), ("duet, void", 0.9))
    assert found(run(), quiet).note == ""


def test_a_stored_baseline_measured_among_others_decides_nothing() -> None:
    limited = run(3.06)
    limited["spec"]["gate"] = {"e2el_ms": {"max_increase": "3%"}}
    loud = disturb(run(), 0, ("solo", 0.72))
    gate = against_run(RunSummary.from_json(limited), RunSummary.from_json(loud)).gate
    assert gate is not None
    assert (gate.effort.mode, gate.effort.details) == ("stored", {"run_id": "one", "base": "one"})
    verdicts = {one.variant: (one.verdict, one.reason) for one in gate.rules}
    assert verdicts["baseline"][0] == "INCONCLUSIVE"
    assert "others had 72%" in verdicts["baseline"][1]


# ---- drift, window by window -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["kld_mean", "top1_agreement", "ppl"])
def test_identical_drift_is_exactly_1(metric: str) -> None:
    one = found(run(), run(), metric)
    assert (one.ratio, one.ci_low, one.ci_high) == (1.0, 1.0, 1.0)
    assert (one.verdict, one.basis) == ("cannot tell", WINDOWS)
    assert "1.000 [1.000, 1.000]" in render([one])


def test_kl_by_the_linearised_ratio_of_means() -> None:
    more = tuple(kl * 1.1 + 0.0001 * (-1) ** i for i, kl in enumerate(KL))
    other = run(variants=[row("baseline", 10.0), row("v", 5.0, means=more)])
    one = found(run(), other, "kld_mean")
    wanted = ratio_interval(more, KL)
    assert (one.ratio, one.ci_low) == pytest.approx((wanted.value, wanted.low))
    assert (one.verdict, found(other, run(), "kld_mean").verdict) == ("worse", "better")
    assert found(run(), other, "top1_agreement").verdict == "worse"


def test_perplexity_by_the_mean_difference_of_logarithms() -> None:
    losses = [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]
    other = run()
    figure = other["variants"][1]["drift"]["ppl"]
    figure["window_means"] = [a + b for a, b in zip(figure["window_means"], losses, strict=True)]
    one = found(run(), other, "ppl")
    half = 2.5705818 * math.sqrt(0.0004 / 5) / math.sqrt(6)
    assert one.ratio == pytest.approx(math.exp(0.02))
    assert one.ci_low == pytest.approx(math.exp(0.02 - half))
    assert one.verdict == "worse"


@pytest.mark.parametrize(
    "change", [{"window": 512}, {"n": 1}, {"windows": 7}, {"window_means": None}, {"window_means": [0.1] * 4}]
)
def test_other_windows_or_none_kept_are_compared_by_their_own_intervals(change: Json) -> None:
    other = run()
    other["variants"][1]["drift"]["kld_mean"] |= change
    one = found(run(), other, "kld_mean")
    assert one.basis == ALONE
    assert one.ci_high == pytest.approx(math.exp(math.hypot(0.5, 0.5)))


def test_nothing_agreed_on_is_no_crash() -> None:
    zero = run(variants=[row("baseline", 10.0), row("v", 5.0, means=(0.0,) * 6)])
    for pair in ((zero, zero), (run(), zero), (zero, run())):
        assert found(*pair, "kld_mean").verdict == "cannot tell"


# ---- what was compared -----------------------------------------------------------------------------


def test_the_heading_names_runs_days_and_others() -> None:
    loud = disturb(run(run_id="two", started_utc="2026-02-01T08:30:00Z"), 1, ("solo", 0.03), ("duet", 0.72))
    first, second, *_same = heading(run(), loud).splitlines()
    assert first == "before  one, 2026-01-31 12:00:00 UTC: what others had of the processors is not recorded"
    assert second.startswith("after   two, 2026-02-01 08:30:00 UTC: others had at most 72% of the processors")
    assert second.endswith("(v, turns)")


def test_a_note_is_printed_once() -> None:
    loud = disturb(disturb(run(), 0, ("solo", 0.72)), 1, ("duet", 0.08))
    *_rows, base, variant = render(between_runs(run(), loud)).splitlines()
    assert base == "baseline: others had 72% of the processors while one measured this row alone"
    assert variant == "v: others had up to 8% of the processors while one measured this ratio"


def test_a_run_beside_itself_is_said_to_be_one() -> None:
    other = {**run(), "run_id": "another"}
    assert "one and the same run" in heading(run(), run())
    assert "one and the same run" not in heading(run(), other)
