"""``run.json`` as records: nothing is lost on the way, and what is no run is refused with what is wrong."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_record, drift_window, loaded, pairs, run_record, timed_batch

from bench.errors import ExitCode, IntegrityError, Outcome, UsageError
from bench.gate.calibration import Calibration
from bench.gate.findings import Effort, GateVerdict, block, finding
from bench.gate.limits import rules
from bench.metrics import cost, latency, output_drift
from bench.records import EnergyReading, MemoryPeaks, Sides
from bench.records.grid import grid_of
from bench.results.paired_figures import in_turns
from bench.results.row import Evidence, Row
from bench.results.run_summary import RunStatus, RunSummary
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, SEAL, UNSEALED, load_run
from bench.stats.figure import Figure
from bench.stats.ratio_verdict import RatioDesign, Verdict

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
RUNS = sorted(str(path.parent.relative_to(REFERENCE)) for path in REFERENCE.rglob(RUN_JSON))
SOLO = tuple(
    timed_batch(i * 100, [i * 100 + 50, i * 100 + 90], i * 100 + 95 + i, [10], [[1, 2]]) for i in range(6)
)
CALIBRATION = Calibration(
    run_id="calibration", at_utc="2026-01-31T12:00:00Z", units=20, void_units=1, unit_sd=0.01,
    process_sd=0.008, batch_sd=0.012, intraclass_correlation=0.3, lag1_autocorrelation=0.1,
    seconds_per_unit=30.0, batches_measured=4, batches=3, detectable=None, counters_constant=True, cap=40,
)  # fmt: skip
Json = dict[str, Any]


def rich() -> RunSummary:
    """A row of every kind, in two cells, with a gate and a calibration."""
    windows = [drift_window([0.01 * i, 0.02], [1, i % 2], [-1.0, -2.0], [-1.1, -2.0]) for i in range(1, 7)]
    step = {"step": "quantise torch-int4", "took_s": 2.0, "checks": [{"claim": "dtype", "holds": True}]}
    variant = arm_record(
        "v", solo=SOLO, drift=tuple(windows), optimise=("quantise torch-int4",),
        model={"name": "mine", "grid": asdict(grid_of("Q4_1"))},
        loaded=replace(loaded(engine="fake 1", context=4096), evidence=(step,)),
        memory=MemoryPeaks({"peak_rss_bytes": 900}, {"peak_rss_bytes": 900}),
        noise=({"stage": "solo", "steal_share": 0.01},), energy=EnergyReading(None, False, "none", "none"),
    )  # fmt: skip
    failed = arm_record(
        "broken", group="batch_size=8", status="oom_host", reason="killed", loaded=None, warm_up=None
    )
    base = arm_record(solo=SOLO, memory=variant.memory)
    units = pairs(*[([[60, 40]], [[48, 32]])] * 4)
    units = (*units, replace(units[0], number=5, void="others had 20% of the processors"))
    record = run_record(base, variant, replace(base, group="batch_size=8"), failed, units=units)
    found = summarise(replace(record, notices=("dropped a torn last line",)))
    rule = next(rules({cost.PER_REQUEST.key: {"max_increase": "3%"}}))
    judged = finding(rule, ("", "v"), GateVerdict.PASS, "within the limit", value=0.8, low=0.7, high=0.9)
    effort = Effort("code", 8, 1, 2, 8, 30.5, CALIBRATION, {"limits": {}, "test": {"cap": 40}})
    return replace(found, gate=block([judged], effort), calibration=CALIBRATION)


def written(run: RunSummary) -> Json:
    """What the file holds."""
    found: Json = json.loads(json.dumps(run.to_json(), allow_nan=False))
    return found


def lost(before: object, after: object, where: str = "") -> Iterator[str]:
    """Every place in ``before`` that is not the same in ``after``, which may hold more keys."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{where}.{key} is gone"
            else:
                yield from lost(value, after[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{index}]")
    elif type(before) is not type(after) or before != after:
        yield f"{where}: {str(before)[:80]} became {str(after)[:80]}"


# ---- there and back ------------------------------------------------------------------------------------


def test_there_are_runs_to_read() -> None:
    assert len(RUNS) > 5


@pytest.mark.parametrize("name", RUNS)
def test_a_committed_run_loses_nothing(name: str) -> None:
    before: Json = json.loads((REFERENCE / name / RUN_JSON).read_text())
    before.pop(SEAL)  # of the file, not of the run
    untouched = copy.deepcopy(before)
    read = RunSummary.from_json(before)
    after = written(read)
    assert list(lost(before, after)) == []
    assert before == untouched
    assert RunSummary.from_json(after) == read
    assert written(RunSummary.from_json(after)) == after


@pytest.mark.parametrize("name", RUNS)
def test_keys_that_earlier_code_did_not_write_are_empty(name: str) -> None:
    before: Json = json.loads((REFERENCE / name / RUN_JSON).read_text())
    for one, other in zip(before["variants"], written(RunSummary.from_json(before))["variants"], strict=True):
        assert not any(other[key] for key in other.keys() - one.keys())
        if one["facts"]:
            assert not any(other["facts"][key] for key in other["facts"].keys() - one["facts"].keys())


def test_a_run_of_every_kind_comes_back_word_for_word() -> None:
    run = rich()
    found = written(run)
    read = RunSummary.from_json(found)
    assert list(lost(found, written(read))) == list(lost(written(read), found)) == []
    assert (read.status, read.gate, read.calibration) == (run.status, run.gate, CALIBRATION)
    assert [row.evidence for row in read.rows] == [row.evidence for row in run.rows]
    assert [row.facts for row in read.rows] == [row.facts for row in run.rows]
    assert read.comparisons == run.comparisons
    assert read.rows[1].void_pairs == 1


@pytest.mark.fault(32)
def test_a_run_of_earlier_code_has_defaults() -> None:
    found = written(rich())
    for row in found["variants"]:
        for key in ("one_off_s", "warm_up", "energy_reason", "drift_reason", "void_pairs", "noise"):
            del row[key]
    for one in found["comparisons"]:
        for key in ("pairs", "pair_sd", "value", "value_low", "value_high", "p"):
            del one[key]
    del found["gate"], found["calibration"]
    read = RunSummary.from_json(found)
    row, one = read.rows[1], read.comparisons[0]
    assert (row.one_off_s, row.warm_up, row.energy_reason, row.drift_reason) == (None,) * 4
    assert (row.void_pairs, row.noise) == (0, ())
    assert (one.pairs, one.pair_sd, one.value, one.value_low, one.value_high, one.p) == (None,) * 6
    assert (read.gate, read.calibration) == (None, None)


def test_evidence_without_a_key_is_evidence_of_nothing() -> None:
    """The schema takes it, so a page must find a record there and no dict."""
    found = json.loads((REFERENCE / RUNS[0] / RUN_JSON).read_text())
    found["variants"][0]["evidence"] = {}
    read = RunSummary.from_json(found)
    assert read.rows[0].evidence == Evidence((), {}, ())
    assert not read.rows[0].is_served


def test_facts_of_other_code_that_are_not_known_here_are_left_out() -> None:
    found = written(rich())
    found["variants"][0]["facts"]["colour"] = "green"
    read = RunSummary.from_json(found)
    assert read.rows[0].facts == rich().rows[0].facts


# ---- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [None, [], "run", 1, {}, {"schema_version": 2}, {"schema_version": "1"}])
def test_what_is_no_run(found: object) -> None:
    with pytest.raises(IntegrityError, match="not a run of schema version 1"):
        RunSummary.from_json(found)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (["status"], "fine", "'fine' is not a valid RunStatus"),
        (["variants", 1, "status"], "[red]", "is not a valid Outcome"),
        (["variants", 1, "metrics"], None, "AttributeError"),
        (["variants", 1, "metrics", "ttft_ms"], {"mean": 1.0}, "KeyError: 'unit'"),
        (["variants", 1, "metrics", "ttft_ms"], 5.0, "TypeError"),
        (["variants", 1, "facts", "device"], ..., "device"),
        (["variants", 1, "name"], ..., "KeyError: 'name'"),
        (["variants"], None, "TypeError"),
        (["comparisons", 0, "verdict"], "splendid", "'splendid' is not a valid Verdict"),
        (["comparisons", 0, "verdict"], ..., "KeyError: 'verdict'"),
        (["comparisons", 0, "design"], "quartet", "'quartet' is not a valid RatioDesign"),
        (["comparisons", 0, "ratio"], ..., "ratio"),
        (["gate", "verdict"], "MAYBE", "'MAYBE' is not a valid GateVerdict"),
        (["gate", "rules", 0, "verdict"], "pass", "'pass' is not a valid GateVerdict"),
        (["gate", "rules", 0, "colour"], "green", "colour"),
        (["gate", "evidence"], ..., "KeyError: 'evidence'"),
        (["calibration", "cap"], ..., "cap"),
        (["price"], ..., "KeyError: 'price'"),
    ],
)
def test_what_is_damaged_is_refused_with_what_is_wrong(
    place: list[str | int], value: object, words: str
) -> None:
    found: Any = written(rich())
    target = found
    for part in place[:-1]:
        target = target[part]
    if value is ...:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    with pytest.raises(IntegrityError) as caught:
        RunSummary.from_json(found)
    assert caught.value.exit_code == ExitCode.INTEGRITY
    assert words in str(caught.value)
    assert "without this file it is made again from the journal" in str(caught.value)


# ---- reading a directory -------------------------------------------------------------------------------


def test_a_directory_is_read_by_its_file(tmp_path: Path) -> None:
    harness = {"version": "0.1.0", "source_sha256": "ef" * 32}
    text = {"name": "english", "sha256": "01" * 32}
    run = replace(rich(), harness=harness, text=text)
    (tmp_path / RUN_JSON).write_text(json.dumps(run.to_json()))
    assert written(load_run(tmp_path)) == written(replace(run, reasons=(*run.reasons, UNSEALED)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ("[]", "the whole file is not an object"),
        ('{"schema_version": 1}', "the run: run_id: Field required"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / RUN_JSON).write_text(content)
    with pytest.raises(IntegrityError) as caught:
        load_run(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / RUN_JSON}: ")
    assert words in str(caught.value)


def test_a_directory_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        load_run(tmp_path)


# ---- what can be asked of it ---------------------------------------------------------------------------


def test_rows_and_their_baselines() -> None:
    run = rich()
    assert run.groups == ("", "batch_size=8")
    assert [row.title for row in run.rows] == [
        "baseline",
        "v",
        "batch_size=8 baseline",
        "batch_size=8 broken",
    ]
    assert [run.baseline_of(row).key for row in run.rows] == [
        ("", "baseline"), ("", "baseline"), ("batch_size=8", "baseline"), ("batch_size=8", "baseline"),
    ]  # fmt: skip
    assert [row.ok for row in run.rows] == [True, True, True, False]
    assert run.rows[3].status is Outcome.OOM_HOST
    assert run.status is RunStatus.PARTIAL


def test_a_figure_by_its_metric_or_its_key() -> None:
    row = rich().rows[1]
    assert row.figure(latency.TTFT) is row.figure("ttft_ms") is row.metrics["ttft_ms"] is not None
    assert row.figure(output_drift.KLD) is row.drift["kld_mean"] is not None
    assert row.figure("nothing") is None
    assert dict(row.figures()) == {**row.metrics, **row.drift}


def test_the_ratios_of_a_row() -> None:
    run = rich()
    base, row = run.rows[:2]
    found = run.comparison(row, cost.PER_1K)
    assert found is not None
    assert found is run.comparison(row, cost.PER_1K.key)
    assert (found.metric, found.group, found.variant) == (cost.PER_1K.key, "", "v")
    assert run.comparison(base, cost.PER_1K) is None
    assert run.comparison(replace(row, group="batch_size=8"), cost.PER_1K) is None
    assert found in run.ratios_of(row)
    assert run.ratios_of(base) == []


def test_in_turns_or_not() -> None:
    found = rich().comparison(rich().rows[1], cost.PER_1K)
    assert found is not None
    assert in_turns(found)
    assert not in_turns(replace(found, design=RatioDesign.SOLO))
    assert not in_turns(None)


def test_flat_rows_are_plain_data() -> None:
    run = rich()
    base, row, _other, failed = run.flat_rows()
    one, figure = run.comparison(run.rows[1], latency.E2EL), run.rows[1].figure(latency.E2EL)
    assert one is not None
    assert figure is not None
    assert (row["e2el_ms"], row["e2el_ms_ci_low"], row["e2el_ms_ci_high"]) == (
        one.value, one.value_low, one.value_high,
    )  # fmt: skip
    assert row["e2el_ms_alone"] == figure.value
    assert (row["e2el_ms_ratio"], row["e2el_ms_verdict"]) == (one.ratio, "better")
    assert "e2el_ms_ratio" not in base
    assert (failed["status"], failed["reason"], failed["e2el_ms"]) == ("oom_host", "killed", None)
    for value in [value for flat in (base, row, failed) for value in flat.values()]:
        assert type(value) in (str, bool, float, int, type(None))
        assert not isinstance(value, float) or math.isfinite(value)
    assert type(row["e2el_ms_verdict"]) is str
    assert type(row["weights_bytes"]) is float


def test_a_row_that_was_not_loaded_has_no_evidence() -> None:
    run = rich()
    assert run.rows[3].evidence is None
    assert run.rows[3].facts is None
    evidence = run.rows[1].evidence
    assert evidence is not None
    assert evidence.bytes_by_dtype == {"float32": 4000}
    assert evidence.steps[0]["step"] == "quantise torch-int4"
    assert Evidence().to_json() == {"steps": [], "bytes_by_dtype": {}, "kernels": []}


def test_a_verdict_in_the_file_is_a_word() -> None:
    found = written(rich())
    assert {one["verdict"] for one in found["comparisons"]} <= {str(one) for one in Verdict}
    assert (found["status"], found["gate"]["verdict"], found["gate"]["exit_code"]) == ("partial", "PASS", 0)
    assert Row.from_json(found["variants"][1]).status is Outcome.OK


# ---- numbers of a broken model ------------------------------------------------------------------------


def test_a_row_of_which_figures_are_too_large_to_be_kept() -> None:
    """Some models mask logits with the smallest float32, and a broken one predicts nothing at all. Their run
    is written, can be read, and says what is left out."""
    masked = Sides(((-1.0, 2.0),) * 6, ((-3.4e38, 2.0),) * 6)
    hopeless = tuple(drift_window([9e5] * 2, [0, 0], [-1.0, -1.0], [-9e5, -9e5]) for _ in range(6))
    broken = arm_record("v", solo=SOLO, drift=hopeless, logits=(masked,))
    run = summarise(run_record(arm_record(solo=SOLO), broken))
    read = RunSummary.from_json(written(run))
    assert (read.status, read.rows[1].status) == (RunStatus.OK, Outcome.OK)
    kept = dict(read.rows[1].figures())
    assert [kept[key] for key in ("logit_range", "ppl", "ppl_ratio", "ppl_change")] == [None] * 4
    kld = kept["kld_mean"]
    assert kld is not None
    assert kld.value == 9e5
    [said] = [reason for reason in read.reasons if "larger than any figure" in reason]
    assert said == "v: larger than any figure that is kept: logit_range, logit_range_ratio"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1.1e24, -1.1e24])
@pytest.mark.parametrize("place", ["value", "ci_low", "ci_high"])
def test_a_figure_is_kept_if_all_its_numbers_can_be(number: float, place: str) -> None:
    figure = Figure("1", None, "", 1.0, 0.5, 1e24)
    assert figure.within(1e24)
    assert not replace(figure, **{place: number}).within(1e24)  # type: ignore[arg-type]
