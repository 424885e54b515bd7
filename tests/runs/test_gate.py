"""Whole gates: from a config to a verdict, real worker processes, an engine whose durations are data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import RUNTIMES, fake_model, fake_runtime, interpreter, said

from bench import environments
from bench.cli.gate_actions import CalibrateOptions, calibrate
from bench.config.reader import read_config
from bench.config.spec import Spec
from bench.engine.energy_counters import Counter, NoCounter
from bench.errors import BenchError, InterruptedRun, UsageError
from bench.gate.calibration import Calibration
from bench.gate.limits import rules
from bench.machine import noise
from bench.measure import worker_process
from bench.measure.events import Event, Noted
from bench.report import gate as words
from bench.results.summary import load_run, summarise
from bench.results.verify import verify_run
from bench.runs import gate as gating
from bench.runs import meters
from bench.runs import run as harness
from bench.runs import sides as deciding
from bench.runs import units as measuring
from bench.runs.gate import Plan, calibrate_spec, gate_spec
from bench.runs.meters import check_meters
from bench.store import journal as journals
from bench.store import replay as replays
from bench.store.replay import Head, load_record, newest_first
from bench.store.run_lock import run_lock

__all__ = ["fake_runtime"]  # a fixture
MS = 1_000_000
LIMIT = {"cost_per_request_usd": {"max_increase": "3%"}}
pytestmark = pytest.mark.usefixtures("fake_runtime")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "GRACE_S", 5.0)
    monkeypatch.setattr(harness, "source_digest", lambda: "0" * 64)
    # A busy hypervisor would void units, and a cap of six would be reached without a verdict.
    monkeypatch.setattr(noise, "stolen", lambda before, after: False)


def config(
    tmp_path: Path, step_ns: int, *faults: Mapping[str, object], gate: Any = None, **more: Any
) -> Spec:
    """A baseline of 2 ms a step and a variant of ``step_ns``."""
    base = fake_model(tmp_path / "base", prefill_ns=[10 * MS], step_ns=[2 * MS])
    other = fake_model(tmp_path / "other", *faults, prefill_ns=[10 * MS], step_ns=[step_ns])
    content = {
        "name": "test",
        "model": {"path": str(base)},
        "runtime": {"name": "fake", "threads": 2, "python": str(interpreter(tmp_path))},
        "workload": {"name": "chat", "requests": 4, "output_tokens": 6},
        "variants": [{"name": "v", "model": {"path": str(other)}}],
        "measure": {"timeout_s": 20.0},
        "gate": LIMIT if gate is None else gate,
        **more,
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return read_config(file)


def gate(spec: Spec, tmp_path: Path, **plan: Any) -> dict[str, Any]:
    """The ``gate`` block of ``run.json``; the run's directory must verify."""
    directory = gate_spec(spec, tmp_path / "results", Plan(batches=2, **plan))
    verify_run(directory)
    found = json.loads((directory / "run.json").read_text())
    assert found.pop("seal")
    assert found == json.loads(json.dumps(summarise(load_record(directory)).to_json()))
    assert found == json.loads(json.dumps(load_run(directory).to_json())), "read back, nothing is lost"
    return {**found["gate"], "run": found, "directory": directory}


def calibration_in(directory: Path) -> Calibration:
    """What the gate of this directory knew of the machine."""
    gate = load_run(directory).gate
    assert gate is not None
    assert gate.effort.calibration is not None
    return gate.effort.calibration


def test_nothing_changed(tmp_path: Path) -> None:
    """And every request of the workload comes up."""
    found = gate(config(tmp_path, 2 * MS), tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("PASS", 0)
    assert found["evidence"]["units"] == 7
    assert found["rules"][0]["value"] == 1.0
    assert [row["status"] for row in found["run"]["variants"]] == ["ok", "ok"]
    units = load_record(found["directory"]).units
    assert [unit.batches for unit in units[:3]] == [(0, 1), (2, 3), (0, 1)]
    assert {unit.spawned_first for unit in units} == {0, 1}


def test_a_slower_variant(tmp_path: Path) -> None:
    found = gate(config(tmp_path, 3 * MS), tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("FAIL", 1)
    assert found["rules"][0]["value"] == pytest.approx((10 + 5 * 3) / (10 + 5 * 2))
    assert 8 <= found["evidence"]["units"] <= 10


def test_a_gate_reads_its_journal_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of its rounds: once as it grows, and once for the summary at its end."""
    read: list[bytes] = []
    lines = journals.lines_of

    def counting(*arguments: Any) -> Iterator[bytes]:
        for line in lines(*arguments):
            read.append(line)
            yield line

    monkeypatch.setattr(journals, "lines_of", counting)
    directory = gate_spec(config(tmp_path, 2 * MS), tmp_path / "results", Plan(batches=2, cap=5))
    written = (directory / "journal.jsonl").read_bytes().splitlines()
    assert sum(b'"kind":"unit"' in line for line in written) >= 5
    assert len(read) <= 2 * len(written)


@pytest.mark.fault(30)
def test_a_variant_that_breaks_is_not_a_pass(tmp_path: Path) -> None:
    spec = config(tmp_path, 2 * MS, {"at": "step", "call": 20, "do": "segfault"})
    found = gate(spec, tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("ERROR", 5)
    assert "segfault" in found["rules"][0]["reason"]
    base, row = found["run"]["variants"]
    assert (base["status"], base["reason"]) == ("interrupted", "its unit ended when v failed")
    assert row["status"] == "segfault"


@pytest.mark.fault(30)
def test_a_baseline_that_breaks_is_not_a_pass(tmp_path: Path) -> None:
    spec = config(tmp_path, 2 * MS)
    fake_model(tmp_path / "base", {"at": "prefill", "do": "kill"}, prefill_ns=[10 * MS], step_ns=[2 * MS])
    found = gate(spec, tmp_path)
    assert found["exit_code"] == 5


def test_a_variant_that_breaks_leaves_the_others_their_baseline(tmp_path: Path) -> None:
    """Its unit would begin the row of the baseline anew, and leave it without the model and its price."""
    broken = fake_model(
        tmp_path / "broken", {"at": "load", "do": "segfault"}, prefill_ns=[10 * MS], step_ns=[2 * MS]
    )
    variants = [
        {"name": name, "model": {"path": str(path)}}
        for name, path in (("v", tmp_path / "other"), ("broken", broken))
    ]
    found = gate(config(tmp_path, 2 * MS, variants=variants), tmp_path, cap=4)
    ends = {row["name"]: row["status"] for row in found["run"]["variants"]}
    assert ends == {"baseline": "ok", "v": "ok", "broken": "segfault"}
    base = load_record(found["directory"]).arms[0]
    assert base.is_baseline
    assert base.loaded is not None
    assert base.prompts_digest is not None


def test_a_second_gate_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    spec = config(tmp_path, 3 * MS)
    first = gate(spec, tmp_path, cap=6)
    assert (first["verdict"], first["exit_code"]) == ("INCONCLUSIVE", 3)
    second = gate(spec, tmp_path, cap=6)
    assert second["verdict"] == "FAIL"
    assert second["evidence"]["units_from_earlier_runs"] == 6
    third = gate(spec, tmp_path, cap=6)
    assert third["verdict"] == "FAIL"
    assert third["rules"][0]["units"] - second["rules"][0]["units"] <= 1


def test_no_gate_measures_more_than_a_reader_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gates go on with grows, and a run of more units could not be read again."""
    for module in (measuring, deciding, replays):
        monkeypatch.setattr(module, "MOST_OF_A_ROW", 5)
    spec = config(tmp_path, 2 * MS)
    found = gate(spec, tmp_path)
    assert (found["verdict"], found["evidence"]["units"]) == ("INCONCLUSIVE", 5)
    with pytest.raises(UsageError, match="has 5 units of a row"):
        gate(spec, tmp_path)


def test_the_heads_of_earlier_runs_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the calibration and for the evidence."""
    spec, seen = config(tmp_path, 2 * MS), list[Path]()
    gate(spec, tmp_path, cap=2)

    def heads(out: Path) -> Iterator[Head]:
        for directory, head in newest_first(out):
            seen.append(directory)
            yield directory, head

    monkeypatch.setattr(gating, "newest_first", heads)
    assert gate(spec, tmp_path, cap=2)["evidence"]["units_from_earlier_runs"] == 2
    assert len(seen) == 1


def test_other_code_starts_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = config(tmp_path, 3 * MS)
    gate(spec, tmp_path, cap=2)
    changed = environments.Identity("", "3", "changed", "changed")
    monkeypatch.setattr(gating, "identity", lambda python, label="": changed)
    assert gate(spec, tmp_path, cap=2)["evidence"]["units_from_earlier_runs"] == 0


def test_another_design_starts_afresh(tmp_path: Path) -> None:
    """Who asks for turns is not judged by what was measured in another way."""
    found = []
    for design in ("steps", "steps", "requests"):
        run = gate(config(tmp_path, 3 * MS, measure={"design": design}), tmp_path, cap=2)
        found.append(run["evidence"]["units_from_earlier_runs"])
    assert found == [0, 2, 0]


def test_other_weights_start_afresh(tmp_path: Path) -> None:
    """The same path with another model in it is another comparison."""
    spec = config(tmp_path, 3 * MS)
    gate(spec, tmp_path, cap=2)
    weights = tmp_path / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\1\1\1")
    assert gate(spec, tmp_path, cap=2)["evidence"]["units_from_earlier_runs"] == 0


def test_other_prompts_start_afresh(tmp_path: Path) -> None:
    """The same file with other prompts in it is another comparison."""
    prompts = tmp_path / "prompts.jsonl"
    load = {"name": "file", "file": str(prompts), "requests": 4, "output_tokens": 6}
    found = []
    for text in ("one", "one", "two"):
        prompts.write_text(4 * (json.dumps({"prompt": text}) + "\n"))
        run = gate(config(tmp_path, 3 * MS, workload=load), tmp_path, cap=2)
        found.append(run["evidence"]["units_from_earlier_runs"])
    assert found == [0, 2, 0]


def test_a_cold_start_with_a_limit_of_its_own(tmp_path: Path) -> None:
    found = gate(config(tmp_path, 2 * MS, gate={"first_request_ms": {"max_increase": "60%"}}), tmp_path)
    (rule,) = found["rules"]
    assert rule["kind"] == "timed"
    assert rule["value"] > 0
    assert found["verdict"] in ("PASS", "INCONCLUSIVE")


def test_a_second_gate_in_the_same_place_is_refused(tmp_path: Path) -> None:
    spec, out = config(tmp_path, 2 * MS), tmp_path / "results"
    out.mkdir()
    with run_lock(out), pytest.raises(UsageError, match="in use by process"):
        gate_spec(spec, out, Plan())
    assert [path.name for path in out.iterdir() if path.is_dir()] == []


def test_what_a_gate_says_beforehand(tmp_path: Path) -> None:
    """Without a calibration that there is none; with one what it can see of these limits, within this cap."""
    spec = config(tmp_path, 2 * MS)

    def told(plan: Plan) -> tuple[str, Path]:
        """What is noted before the first unit, and where the gate is, which ends there."""
        notes: list[str] = []

        def tell(event: Event) -> None:
            if not isinstance(event, Noted):
                raise KeyboardInterrupt
            notes.append(event.text)

        with pytest.raises(InterruptedRun) as ended:
            gate_spec(spec, tmp_path / "results", plan, tell=tell)
        (note,) = notes
        return note, Path(str(ended.value).rpartition(" is in ")[2])

    assert told(Plan())[0].startswith("gate: not calibrated")
    calibrate_spec(spec, tmp_path / "results", units=6, batches=2)
    assert "one of 1 (limits × rows) needs 9 or more" in told(Plan(cap=8))[0]
    text, found = told(Plan(cap=9))
    assert "found in 95 % of gates (9 units" in text
    assert calibration_in(found).cap == 9


def test_the_same_config_in_another_interpreter(tmp_path: Path) -> None:
    spec = config(tmp_path, 2 * MS)
    found = gate(spec, tmp_path, base=interpreter(tmp_path), base_label="there", cap=2)
    assert [rule["value"] for rule in found["rules"]] == [1.0, 1.0]
    assert {rule["group"] for rule in found["rules"]} == {"baseline", "v"}
    assert {rule["variant"] for rule in found["rules"]} == {"candidate"}
    assert found["evidence"]["sides"]["base"]["label"] == "there"


def test_absolute_limits_are_measured_by_a_whole_run(tmp_path: Path) -> None:
    limits = {**LIMIT, "ttft_ms": {"max": 5}, "e2el_ms": {"max": 1000}}
    found = gate(config(tmp_path, 2 * MS, gate=limits), tmp_path)
    verdicts = {rule["metric"]: rule["verdict"] for rule in found["rules"]}
    assert verdicts == {"cost_per_request_usd": "PASS", "ttft_ms": "FAIL", "e2el_ms": "PASS"}
    assert found["verdict"] == "FAIL"


def test_memory_and_counters(tmp_path: Path) -> None:
    limits = {
        "peak_rss_bytes": {"max_increase": "50%"},
        "output_tokens_per_request": {"max": 6},
        "flops_per_request": {"max_increase": "1%"},
    }
    found = gate(config(tmp_path, 2 * MS, gate=limits), tmp_path)
    verdicts = {rule["metric"]: rule["verdict"] for rule in found["rules"]}
    assert verdicts == {
        "peak_rss_bytes": "PASS",
        "output_tokens_per_request": "PASS",
        "flops_per_request": "ERROR",  # the fake engine's model cannot be watched
    }
    assert found["exit_code"] == 5


@pytest.mark.fault(26)
def test_a_disturbed_machine_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "stolen", lambda before, after: True)
    found = gate(config(tmp_path, 2 * MS), tmp_path)
    assert (found["verdict"], found["exit_code"]) == ("INCONCLUSIVE", 3)
    assert "machine unfit" in found["rules"][0]["reason"]
    assert found["evidence"]["void_units"] <= 12


@pytest.mark.parametrize(
    ("more", "code", "match"),
    [({"gate": {}}, 2, "no limits"), ({"variants": []}, 2, "there is nothing to compare")],
)
@pytest.mark.fault(31)
def test_nothing_to_gate(tmp_path: Path, more: dict[str, Any], code: int, match: str) -> None:
    with pytest.raises(BenchError, match=match) as refused:
        gate_spec(config(tmp_path, 2 * MS, **more), tmp_path / "results", Plan())
    assert refused.value.exit_code == code
    assert not (tmp_path / "results").exists()


def test_the_sides_of_a_unit_do_not_run_one_after_the_other(tmp_path: Path) -> None:
    spec = config(tmp_path, 2 * MS, measure={"design": "abba"})
    for run in (lambda: gate_spec(spec, tmp_path, Plan()), lambda: calibrate_spec(spec, tmp_path)):
        with pytest.raises(UsageError, match=r"measure\.design: abba is for bench run"):
            run()


def test_a_calibration_and_a_gate_that_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = config(tmp_path, 2 * MS)
    directory = calibrate_spec(spec, tmp_path / "results", units=6, batches=2)
    calibrate_spec(spec, tmp_path / "results", units=1, batches=2)  # as one that is interrupted
    if_due = CalibrateOptions(tmp_path / "results", 6, 2, None, None, (), if_due=True)
    calibrate(Path(spec.file), if_due, quiet=True)
    assert capsys.readouterr().out.startswith(f"not due: {directory.name}, of the last 7 days, is valid here")
    assert len(list((tmp_path / "results").glob("*/"))) == 2, "nothing was measured"
    verify_run(directory)
    run = load_run(directory)
    assert run.gate is None
    found = run.calibration
    assert found is not None
    assert (found.units, found.unit_sd, found.counters_constant) == (6, 0.0, True)
    assert "calibrated on 6 units" in words.calibration(found)[0]
    events: list[Event] = []
    gated = gate_spec(spec, tmp_path / "results", Plan(), tell=events.append)
    assert calibration_in(gated).run_id == directory.name
    assert isinstance(events[0], Noted)
    assert [said(event) for event in events[1:]] == [("v", f"unit {n}") for n in range(1, len(events))]


def test_the_command(tmp_path: Path) -> None:
    """Through the command line: exit code, the printed verdict, the job's summary page."""
    spec = config(tmp_path, 3 * MS)
    page = tmp_path / "summary.md"
    program = (
        "import bench.runtimes, sys; bench.runtimes.__path__.append(sys.argv.pop(1)); "
        "sys.path.append(sys.argv.pop(1)); "
        "from bench.__main__ import main; main()"
    )
    known = [str(RUNTIMES), str(RUNTIMES.parent)]
    command = [sys.executable, "-c", program, *known, "gate", spec.file, "--out", str(tmp_path / "r")]
    done = subprocess.run(
        [*command, "--batches", "2"],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "GITHUB_STEP_SUMMARY": str(page),
            "GITHUB_ACTIONS": "true",
            "HOME": "/",
        },
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("FAIL  test  (exit 1)")
    assert "::error title=bench gate::FAIL" in done.stderr
    assert page.read_text().startswith("### FAIL: test")


def test_several_variants_go_on_where_they_stopped(tmp_path: Path) -> None:
    """The second gate measures rows for each variant, and gives each no more than its own cap again."""
    spec = config(tmp_path, 3 * MS)
    model = {"path": str(tmp_path / "other")}
    spec = config(tmp_path, 3 * MS, variants=[{"name": name, "model": model} for name in ("v", "w")])
    first = gate(spec, tmp_path, cap=6)
    assert first["verdict"] == "INCONCLUSIVE"
    second = gate(spec, tmp_path, cap=6)
    assert [rule["verdict"] for rule in second["rules"]] == ["FAIL", "FAIL"]
    assert second["evidence"]["units_from_earlier_runs"] == 12
    assert second["evidence"]["test"]["cap"] == 12


GRID = {"g_co2_per_kwh": 349.0, "date": "2026-06-01", "source": "the grid"}


def test_a_limit_on_energy_needs_a_meter_or_watts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is measured, and not by an ERROR at the end."""
    spec = config(tmp_path, 2 * MS, gate={"co2_per_request_g": {"max": 1}}, energy=GRID)
    monkeypatch.setattr(
        meters, "find", lambda device, gpu=None: NoCounter("no_energy_counter", f"none of {device}")
    )
    with pytest.raises(UsageError, match="cannot be measured here: none of cpu; give energy"):
        gate(spec, tmp_path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("metric", ["energy_modelled_per_request_j", "co2_per_request_g"])
def test_a_limit_on_modelled_energy_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    block = {"modelled_watts": 65.0, **GRID}
    spec = config(tmp_path, 2 * MS, gate={metric: {"max": 1000}}, energy=block)
    monkeypatch.setattr(
        meters, "find", lambda device, gpu=None: NoCounter("no_energy_counter", f"none of {device}")
    )
    check_meters(list(rules({metric: {"max": 1000}})), spec)


@pytest.mark.parametrize("metric", ["energy_modelled_per_request_j", "co2_per_request_g"])
def test_where_energy_is_counted_nothing_is_modelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    """The limit would find no figure, or one without an interval; that is known before the first unit."""
    energy = {"modelled_watts": 65.0, **GRID}
    spec = config(tmp_path, 2 * MS, gate={metric: {"max": 1000}}, energy=energy)
    monkeypatch.setattr(meters, "find", lambda device, gpu=None: Counter("CPU package (RAPL)", lambda: 0.0))
    with pytest.raises(UsageError, match=r"counts energy \(CPU package \(RAPL\)\), so nothing is modelled"):
        gate(spec, tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_cold_start_with_an_absolute_limit_gets_the_starts_that_it_needs(tmp_path: Path) -> None:
    """It had no interval, so every such limit was INCONCLUSIVE."""
    limits = {"load_s": {"max": 3600}, "first_request_ms": {"min": 3_600_000}}
    found = gate(config(tmp_path, 2 * MS, gate=limits), tmp_path)
    assert {rule["metric"]: rule["verdict"] for rule in found["rules"]} == {
        "load_s": "PASS", "first_request_ms": "FAIL",
    }  # fmt: skip
    assert found["evidence"]["units"] == 5
    assert all(0 < rule["low"] <= rule["value"] <= rule["high"] for rule in found["rules"])
