"""Limits against hand-made measurements: every verdict, every reason, and the worst of them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from fakes import arm_record, run_record

from bench.errors import ExitCode, UsageError
from bench.gate.calibration import Calibration
from bench.gate.cut_short import CUT_SHORT
from bench.gate.findings import Effort, Finding, GateBlock, GateVerdict, block, finding
from bench.gate.judge import judge, undecided
from bench.gate.limits import rules
from bench.metrics import cost, counters, memory, output_drift
from bench.metrics.comparisons import Comparison
from bench.records import ColdStart, Counted, RunRecord, Sides, UnitRecord
from bench.report.gate import lines, markdown, workflow_commands
from bench.results.run_summary import RunSummary
from bench.results.stored_gate import judge_run
from bench.results.summary import summarise
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import RatioDesign, Verdict

COST = {cost.PER_REQUEST.key: {"max_increase": "3%"}}
COUNTED = Counted(
    requests=1, input_tokens=30, output_tokens=24, forward_calls=24, flops=1000, kv_cache_bytes=4096
)


CALIBRATION = Calibration(
    run_id="calibration", at_utc="2026-01-31T12:00:00Z", units=20, void_units=1, unit_sd=0.01,
    process_sd=0.008, batch_sd=0.012, intraclass_correlation=0.3, lag1_autocorrelation=0.1,
    seconds_per_unit=30.0, batches_measured=4, batches=3, detectable=0.03, counters_constant=True, cap=40,
)  # fmt: skip


def unit(number: int, change: float, **more: Any) -> UnitRecord:
    """Two batches of three turns, the variant's ``change`` (log scale) slower."""
    base = ((1_000_000, 200_000, 200_000), (1_100_000, 210_000, 190_000))
    slower = tuple(tuple(round(turn * math.exp(change)) for turn in batch) for batch in base)
    return UnitRecord(number, "", "v", (0, 1), 0, base, slower, **more)


def gate(
    changes: list[float], limits: dict[str, Any] | None = None, mode: str = "config", **more: Any
) -> RunRecord:
    """A gate with these units."""
    variant = arm_record("v", **more.pop("variant", {}))
    units = more.pop("units", None) or tuple(unit(n, change) for n, change in enumerate(changes, start=1))
    head = {"mode": mode, "limits": limits or COST, "test": {"cap": 40}}
    run = run_record(arm_record(**more.pop("base", {})), variant)
    return replace(run, gate=head, units=units)


def figure(
    metric: Metric, value: float, low: float | None = None, high: float | None = None
) -> Figure | None:
    return metric.scalar(Interval(value, low, high))


def judged(run: RunRecord, base: Figures | None = None, variant: Figures | None = None) -> GateBlock:
    found = judge(run, {("", "baseline"): base or {}, ("", "v"): variant or {}})
    assert found is not None
    return found


def test_a_run_that_is_no_gate() -> None:
    assert judge(run_record(arm_record()), {}) is None


def test_a_calibration_has_no_verdict() -> None:
    assert judge(replace(run_record(arm_record()), gate={"mode": "calibration"}), {}) is None


@pytest.mark.parametrize(
    ("change", "verdict", "code"), [(0.0, "PASS", 0), (0.06, "FAIL", 1), (-0.5, "PASS", 0)]
)
def test_the_timed_channel(change: float, verdict: str, code: int) -> None:
    found = judged(gate([change] * 10))
    assert (found.verdict, found.exit_code) == (verdict, code)
    rule = found.rules[0]
    assert rule.value == pytest.approx(math.exp(change), rel=1e-5)
    assert rule.low is not None
    assert rule.value is not None
    assert rule.high is not None
    assert rule.low <= rule.value <= rule.high
    assert rule.confidence == 0.99
    assert rule.units == 10


def test_too_few_units_decide_nothing() -> None:
    run = gate([0.0] * 3)
    found = judged(run)
    assert (found.verdict, found.exit_code) == ("INCONCLUSIVE", 3)
    assert undecided(run) == {("", "v")}


def test_at_the_cap_it_is_over() -> None:
    noisy = [0.2, -0.2] * 20
    assert judged(gate(noisy)).verdict == "INCONCLUSIVE"
    assert undecided(gate(noisy)) == set()


def test_a_decided_gate_needs_no_more_units() -> None:
    assert undecided(gate([0.0] * 7)) == set()


def test_void_units_do_not_count_and_too_many_make_the_machine_unfit() -> None:
    units = tuple(unit(n, 0.0, void="others" if n % 2 else "") for n in range(1, 20))
    found = judged(gate([], units=units))
    assert found.verdict == "INCONCLUSIVE"
    assert "machine unfit" in found.rules[0].reason
    few = tuple(unit(n, 0.0, void="others" if n == 1 else "") for n in range(1, 9))
    found = judged(gate([], units=few))
    assert found.verdict == "PASS"
    assert found.effort.void_units == 1


def test_a_limit_on_throughput_looks_the_other_way() -> None:
    limits = {"output_throughput": {"max_decrease": "3%"}}
    assert judged(gate([0.06] * 10, limits)).verdict == "FAIL"
    assert judged(gate([-0.06] * 10, limits)).verdict == "PASS"


def test_a_limit_on_the_first_token_alone() -> None:
    base = ((1_000_000, 200_000, 200_000),)
    slow_prefill = ((1_100_000, 200_000, 200_000),)
    units = tuple(UnitRecord(n, "", "v", (0,), 0, base, slow_prefill) for n in range(1, 12))
    limits = {"ttft_ms": {"max_increase": "3%"}, "tpot_ms": {"max_increase": "3%"}}
    verdicts = [rule.verdict for rule in judged(gate([], limits, units=units)).rules]
    assert verdicts == ["FAIL", "PASS"]


@pytest.mark.fault(30)
def test_a_failed_arm_is_never_a_pass() -> None:
    run = gate([0.0] * 10, variant={"status": "oom_host", "reason": "killed"})
    found = judged(run)
    assert (found.verdict, found.exit_code) == ("ERROR", 5)
    assert "oom_host: killed" in found.rules[0].reason
    assert undecided(run) == set()


@pytest.mark.fault(31)
def test_a_limit_on_what_was_not_measured_is_an_error() -> None:
    found = judged(gate([0.0] * 10, {"kld_mean": {"max": 0.1}}))
    assert (found.verdict, found.exit_code) == ("ERROR", 5)


@pytest.mark.fault(31)
def test_no_rule_is_no_pass() -> None:
    run = replace(gate([0.0] * 10), gate={"mode": "config", "limits": {}})
    assert judged(run).exit_code == 5


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.01, 0.008, 0.012, "PASS"),
        (0.05, 0.04, 0.06, "FAIL"),
        (0.019, 0.01, 0.03, "INCONCLUSIVE"),
        (0.01, None, None, "INCONCLUSIVE"),
        (0.05, None, None, "INCONCLUSIVE"),
        (0.01, None, 0.012, "PASS"),
        (0.01, 0.008, None, "INCONCLUSIVE"),
        (0.05, 0.04, None, "FAIL"),
    ],
)
def test_an_absolute_limit(value: float, low: float | None, high: float | None, verdict: str) -> None:
    run = gate([0.0] * 6, {"kld_mean": {"max": 0.02}})
    found = judged(run, variant={"kld_mean": figure(output_drift.KLD, value, low, high)})
    assert found.verdict == verdict


def test_a_number_without_an_interval_is_refused_unless_it_is_counted() -> None:
    """Another run might give another number, but not another count."""
    limits = {"kld_mean": {"max": 0.02}, "weights_bytes": {"max": 100}, "peak_rss_bytes": {"max": 9}}
    row = {
        "kld_mean": figure(output_drift.KLD, 0.01),
        "weights_bytes": figure(memory.WEIGHTS, 99.0),
        "peak_rss_bytes": figure(memory.RSS, 10.0),
    }
    kl, weights, peak = judged(gate([0.0] * 6, limits), variant=row).rules
    assert (kl.verdict, weights.verdict, peak.verdict) == ("INCONCLUSIVE", "PASS", "FAIL")
    assert "no interval" in kl.reason
    assert (weights.low, weights.high, weights.confidence) == (99, 99, 1.0)


@pytest.mark.fault(23)
def test_a_lower_limit() -> None:
    limits = {"top1_agreement": {"min": 0.95}}
    for value, verdict in ((0.97, "PASS"), (0.9, "FAIL")):
        row = {"top1_agreement": figure(output_drift.TOP1, value, value - 0.005, value + 0.005)}
        assert judged(gate([0.0] * 6, limits), variant=row).verdict == verdict


def test_counters_are_compared_exactly() -> None:
    limits = {counters.FLOPS.key: {"max_increase": "1%"}}
    for flops, verdict in ((1000, "PASS"), (1010, "PASS"), (1011, "FAIL")):
        rows = [{counters.FLOPS.key: figure(counters.FLOPS, n)} for n in (1000, flops)]
        found = judged(gate([], limits), *rows)
        assert found.verdict == verdict, flops
        assert found.rules[0].confidence == 1.0


@pytest.mark.parametrize("key", ["output_tokens", "forward_calls"])
def test_more_work_in_changed_code_fails_at_once(key: str) -> None:
    more = {"variant": {"counters": replace(COUNTED, **{key: 25})}, "base": {"counters": COUNTED}}
    found = judged(gate([0.0], mode="code", **more))
    assert (found.verdict, found.exit_code) == ("FAIL", 1)
    assert key in found.rules[0].reason
    more = {"variant": {"counters": replace(COUNTED, **{key: 25})}, "base": {"counters": COUNTED}}
    assert judged(gate([0.0] * 8, mode="config", **more)).verdict == "PASS"


@pytest.mark.fault(33)
def test_an_improbable_improvement_of_code_is_suspect() -> None:
    same = {"variant": {"counters": COUNTED}, "base": {"counters": COUNTED}}
    for units in (7, 12):  # a clear PASS takes 7 units, before there is any interval
        found = judged(gate([-0.7] * units, mode="code", **same))
        assert (found.verdict, found.exit_code) == ("SUSPECT", 7)
    assert judged(gate([-0.3] * 12, mode="code", **same)).verdict == "PASS"
    same = {"variant": {"counters": replace(COUNTED, output_tokens=3)}, "base": {"counters": COUNTED}}
    assert judged(gate([0.0] * 8, mode="code", **same)).verdict == "SUSPECT"


@pytest.mark.parametrize(
    ("again", "first_ms", "verdict"),
    [(True, 8.0, "SUSPECT"), (True, 7.0, "PASS"), (False, 8.0, "PASS")],
)
@pytest.mark.parametrize("side", ["baseline", "variant"])
def test_answers_that_a_cache_may_have_given_are_no_pass(
    again: bool, first_ms: float, verdict: str, side: str
) -> None:
    """With one request every timed answer came from the cache, and twice the work was a PASS."""
    starts = {name: ColdStart(1.0, first_ms if name == side else 1.0) for name in ("baseline", "variant")}
    units = tuple(unit(n, 0.0, asked_again=again, cold=Sides(**starts)) for n in range(1, 10))
    found = judged(gate([], units=units))
    assert found.verdict == verdict
    said = "answered 6 times faster than at first"
    assert (said in found.rules[0].reason) is (verdict == "SUSPECT")
    few = judged(gate([], units=units[:2])).rules[0]
    assert (few.verdict, said in few.reason) == ("INCONCLUSIVE", verdict == "SUSPECT")


def test_counters_that_varied_in_the_calibration_decide_nothing() -> None:
    varied = {"calibration": asdict(replace(CALIBRATION, counters_constant=False))}
    more = {"variant": {"counters": replace(COUNTED, output_tokens=25)}, "base": {"counters": COUNTED}}
    run = gate([0.0] * 8, mode="code", **more)
    assert judged(replace(run, gate={**(run.gate or {}), **varied})).verdict == "PASS"
    run = gate([], {counters.FLOPS.key: {"max_increase": "1%"}})
    rows = [{counters.FLOPS.key: figure(counters.FLOPS, n)} for n in (1000, 2000)]
    found = judged(replace(run, gate={**(run.gate or {}), **varied}), *rows)
    assert found.verdict == "INCONCLUSIVE"
    assert "varied" in found.rules[0].reason


def counted(counts: list[int], *, whole: bool) -> tuple[UnitRecord, ...]:
    """Units that counted so many output tokens of the variant, in answers of one turn or of three."""
    units = (
        unit(number, 0.0, counters=Sides(COUNTED, replace(COUNTED, output_tokens=count)))
        for number, count in enumerate(counts, start=1)
    )
    turns = {"baseline_ns": ((1_000_000,),), "variant_ns": ((1_000_000,),)}
    return tuple(replace(one, **turns) if whole else one for one in units)


@pytest.mark.parametrize(
    ("counts", "whole", "verdict", "another"),
    [
        ([24], False, "FAIL", False),
        ([24, 25], False, "INCONCLUSIVE", False),
        ([24], True, "INCONCLUSIVE", True),
        ([24, 25], True, "INCONCLUSIVE", False),
        ([24, 24, 24], True, "FAIL", False),
    ],
)
def test_a_count_is_exact_only_if_it_is_the_same_each_time(
    counts: list[int], whole: bool, verdict: str, another: bool
) -> None:
    """The length of a sampled answer varies: one count of each side would fail an unchanged commit."""
    limits = {counters.FLOPS.key: {"max_increase": "1%"}}
    run = gate([], limits, units=counted(counts, whole=whole))
    rows = [{counters.FLOPS.key: figure(counters.FLOPS, n)} for n in (1000, 2000)]
    assert judged(run, *rows).verdict == verdict
    assert undecided(run) == ({("", "v")} if another else set())
    calibrated = replace(run, gate={**(run.gate or {}), "calibration": asdict(CALIBRATION)})
    assert judged(calibrated, *rows).verdict == "FAIL", "a calibration has seen twenty units"


def test_a_cold_start_is_judged_by_its_units() -> None:
    cold = Sides(ColdStart(2.0, 90.0), ColdStart(2.4, 90.0))
    units = tuple(unit(n, 0.0, cold=cold) for n in range(1, 12))
    limits = {"load_s": {"max_increase": "10%"}, "first_request_ms": {"max_increase": "10%"}}
    rules_found = judged(gate([], limits, units=units)).rules
    assert [(rule.kind, rule.verdict) for rule in rules_found] == [("timed", "FAIL"), ("timed", "PASS")]
    assert rules_found[0].value == pytest.approx(1.2)
    assert judged(gate([0.0] * 8, limits)).verdict == "ERROR"


def test_intervals_are_widened_where_rules_share_the_error() -> None:
    """Just beyond the limit at 95 %, and no more where a second rule is asked too."""
    row = {
        "kld_mean": figure(output_drift.KLD, 0.03, 0.0205, 0.04),
        "ppl": figure(output_drift.PPL, 10.0, 9.9, 10.1),
    }
    one = judged(gate([0.0] * 6, {"kld_mean": {"max": 0.02}}), variant=row).rules[0]
    two = judged(gate([0.0] * 6, {"kld_mean": {"max": 0.02}, "ppl": {"max": 20}}), variant=row).rules[0]
    assert (one.verdict, one.confidence) == ("FAIL", 0.95)
    assert (two.verdict, two.confidence) == ("INCONCLUSIVE", 0.975)
    assert two.low == pytest.approx(0.03 - 0.0095 * 2.241403 / 1.959964)


def test_the_worst_rule_decides() -> None:
    limits = {**COST, "kld_mean": {"max": 0.02}, "ttft_ms": {"max_increase": "1%"}}
    found = judged(gate([0.06] * 10, limits))
    assert {rule.verdict for rule in found.rules} == {"FAIL", "ERROR"}
    assert found.verdict == "FAIL"


def test_error_rates_are_divided_over_the_cells() -> None:
    """Eight units of +6 % decide one cell; with three timed cells they do not."""
    three = {key: {"max_increase": "3%"} for key in ("cost_per_request_usd", "e2el_ms", "tpot_ms")}
    assert judged(gate([0.06] * 8)).verdict == "FAIL"
    assert judged(gate([0.06] * 8, three)).verdict == "INCONCLUSIVE"
    assert judged(gate([0.06] * 10, three)).verdict == "FAIL"


def test_rules_of_a_block() -> None:
    found = list(rules({"kld_mean": {"max": 0.1}, "ppl": {"max_increase": "5%", "max": 20}}))
    assert [str(rule) for rule in found] == ["kld_mean max 0.1", "ppl max_increase 5 %", "ppl max 20"]
    assert [rule.kind for rule in found] == ["interval"] * 3
    timed = next(iter(rules({"ttft_ms": {"max_increase": "3%"}})))
    assert timed.kind == "timed"
    assert timed.margin == pytest.approx(math.log(1.03))
    shrinking = next(iter(rules({"output_throughput": {"max_decrease": "3%"}})))
    assert shrinking.margin == pytest.approx(-math.log(0.97))


# ---- without measuring ---------------------------------------------------------------------------------


def finished(limits: dict[str, Any], ratio: tuple[float, float, float], **changes: Any) -> RunSummary:
    record = run_record(arm_record(), arm_record("v", **changes))
    value, low, high = ratio
    one = Comparison(
        "v",
        "baseline",
        "",
        cost.PER_REQUEST.key,
        value,
        low,
        high,
        0.95,
        Verdict.CANNOT_TELL,
        RatioDesign.DUET,
        pairs=4,
    )
    return replace(summarise(record), spec={"gate": limits}, comparisons=(one,))


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [((1.0, 0.98, 1.02), "PASS"), ((1.02, 0.99, 1.05), "INCONCLUSIVE"), ((1.2, 1.1, 1.3), "FAIL")],
)
def test_a_finished_run_by_its_own_limits(ratio: tuple[float, float, float], verdict: str) -> None:
    found = judge_run(finished(COST, ratio)).gate
    assert found is not None
    assert found.verdict == verdict
    assert (found.effort.mode, found.effort.details) == ("run", {"run_id": "r"})
    assert (found.effort.units, found.rules[0].units) == (4, 4)


def test_a_finished_run_whose_row_failed_is_an_error() -> None:
    found = judge_run(finished(COST, (1.0, 0.98, 1.02), status="oom_host", reason="killed")).gate
    assert found is not None
    assert found.exit_code == ExitCode.FAILED
    assert found.rules[0].reason == "v was not measured: oom_host: killed"


def test_a_finished_run_that_was_judged_stays_as_it_is() -> None:
    once = judge_run(finished(COST, (1.0, 0.98, 1.02)))
    assert judge_run(once) is once


def test_a_finished_run_without_limits() -> None:
    with pytest.raises(UsageError, match="sets no limit"):
        judge_run(finished({}, (1.0, 0.9, 1.1)))


# ---- the verdict as it stands in run.json --------------------------------------------------------------


def test_a_block_comes_back_as_it_was_written() -> None:
    run = gate([0.0] * 8, {**COST, "kld_mean": {"max": 0.1}})
    head = {**(run.gate or {}), "calibration": asdict(CALIBRATION), "base": "earlier"}
    found = judged(replace(run, gate=head))
    written = json.loads(json.dumps(found.to_json()))
    assert GateBlock.from_json(written) == found
    assert (written["verdict"], written["exit_code"]) == ("ERROR", 5)
    assert [rule["verdict"] for rule in written["rules"]] == ["PASS", "ERROR"]
    assert written["evidence"] == {**head, "units": 8, "void_units": 0, "units_from_earlier_runs": 0,
                                   "units_sharing": 0, "seconds_per_unit": 0.0}  # fmt: skip


@pytest.mark.parametrize("verdict", GateVerdict)
def test_every_verdict_has_its_exit_code(verdict: GateVerdict) -> None:
    found = GateBlock(verdict, (), Effort("code"))
    codes = {"FAIL": 1, "ERROR": 5, "SUSPECT": 7, "INCONCLUSIVE": 3, "PASS": 0, "UNREACHED": 8}
    codes |= {"IDENTICAL": 0, "BROKEN_BASE": 9}
    assert int(found.exit_code) == found.to_json()["exit_code"] == codes[verdict]


def test_the_worst_verdict_comes_first() -> None:
    run, rule = Effort("code"), next(rules(COST))
    said = [finding(rule, ("", "v"), verdict, "because") for verdict in GateVerdict]
    for place, worst in enumerate(GateVerdict):
        assert block(list(reversed(said[place:])), run).verdict == worst


@pytest.mark.parametrize("key", ["verdict", "rules", "evidence"])
def test_a_block_that_lacks_something_is_none(key: str) -> None:
    written = GateBlock(GateVerdict.PASS, (), Effort("code")).to_json()
    del written[key]
    with pytest.raises(KeyError):
        GateBlock.from_json(written)
    with pytest.raises(ValueError, match="is not a valid GateVerdict"):
        GateBlock.from_json({"verdict": "MAYBE", "rules": [], "evidence": {"mode": "code"}})


def test_a_name_cannot_start_a_line_of_its_own() -> None:
    """A line that starts with ``::`` is a command to GitHub's runner."""
    name = "c\n::error::hi | <script>"
    rule = Finding("r", "m", "", name, "relative", GateVerdict.FAIL, f"because {name}")
    found = block([rule], Effort("code"))
    written = [*"\n".join(lines(name, found)).split("\n"), *"\n".join(workflow_commands(found)).split("\n")]
    assert [line for line in written if line.startswith("::")] == [*workflow_commands(found)]
    assert len(workflow_commands(found)) == 1
    page = markdown(name, found)
    assert "<script>" not in page
    assert [line for line in page.split("\n") if line.startswith("::")] == []


@pytest.mark.parametrize(
    ("rows", "metrics"), [(501, COST), (51, {f"m{n}": {"max": 1.0} for n in range(400)})]
)
def test_more_verdicts_than_any_gate_has(rows: int, metrics: dict[str, Any]) -> None:
    """1,900 rows with 6 limits on times took a minute."""
    run = gate([0.0] * 7, limits={**metrics, "ttft_ms": {"max_increase": "3%", "max_decrease": "3%"}})
    variants = [replace(run.arms[1], name=f"v{number}") for number in range(rows)]
    with pytest.raises(ValueError, match="more than 1000 limits on times, or 5000 limits"):
        judge(replace(run, arms=(run.arms[0], *variants)), {})


@pytest.mark.parametrize(
    ("of_variant", "of_base", "more"),
    [("ok", "ok", True), ("interrupted", "ok", True), ("oom_host", "ok", False),
     ("ok", "baseline_failed", False), ("oom_host", "baseline_failed", False)],
)  # fmt: skip
def test_a_side_that_failed_needs_no_more_units(of_variant: str, of_base: str, more: bool) -> None:
    run = gate([0.0] * 2, variant={"status": of_variant}, base={"status": of_base})
    assert undecided(run) == ({("", "v")} if more else set())


@pytest.mark.parametrize(
    ("timed", "findings", "refused"), [(1, 9, False), (0, 9, True), (9, 1, False), (9, 0, True)]
)
def test_only_so_many_limits_are_judged(
    timed: int, findings: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.gate.judge.MOST_TIMED", timed)
    monkeypatch.setattr("bench.gate.judge.MOST_FINDINGS", findings)
    if refused:
        with pytest.raises(ValueError, match=r"limits on times, or .* limits, times rows"):
            judged(gate([0.0] * 6))
    else:
        assert len(judged(gate([0.0] * 6)).rules) == 1


def test_a_gate_that_was_cut_short_between_two_rows_does_not_pass() -> None:
    """It has no trace of the rows that it never came to, so all that it has may hold."""
    whole = gate([0.0] * 3, {"weights_bytes": {"max_increase": "0%"}})
    same = {"weights_bytes": memory.WEIGHTS.scalar(Interval(8.0, None, None))}
    assert judged(whole, same, same).verdict == "PASS"
    found = judged(replace(whole, finished_utc=None), same, same)
    assert found.exit_code == ExitCode.INCONCLUSIVE
    assert [one.reason for one in found.rules if one.verdict != "PASS"] == [CUT_SHORT]


def test_a_gate_that_was_cut_short_within_a_row_says_so_instead_of_an_empty_reason() -> None:
    begun = {"status": "interrupted", "reason": ""}
    whole = replace(gate([0.0] * 3, base=begun, variant=begun), finished_utc=None)
    found = judged(whole)
    assert {(one.verdict, one.reason) for one in found.rules} == {("INCONCLUSIVE", CUT_SHORT)}
